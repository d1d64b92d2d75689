//! The project as `arkwright config` prints it.

use serde_json::{Map, Value};

use super::redact::{self, REDACTED, Secrets, telling, telling_label};
use super::scalar;
use super::tree::Data;

/// A copy of the tree in which every secret is `<redacted>`.
///
/// Values under a telling name go whole; elsewhere the secret's own text goes, also from the middle of a longer text.
pub fn redact_tree(tree: &Value, secrets: &Secrets) -> Value {
    redact(tree, secrets, &mut Vec::new())
}

/// Keys below which text is what programs are told, rather than a name the project is held together by.
const TOLD: [&str; 11] = [
    "environment",
    "command",
    "entrypoint",
    "test",
    "labels",
    "annotations",
    "args",
    "options",
    "content",
    "driver_opts",
    "dockerfile_inline",
];

/// Keys of command lines.
const LINES: [&str; 3] = ["command", "entrypoint", "test"];

fn redact<'a>(value: &'a Value, secrets: &Secrets, path: &mut Vec<&'a str>) -> Value {
    let told = || path.iter().any(|key| TOLD.contains(key) || key.starts_with("x-"));
    match value {
        Value::String(text) => {
            let name = path.last().copied().unwrap_or_default();
            let whole = match path.iter().rev().nth(1).copied().unwrap_or_default() {
                "environment" | "args" => telling(name, text),
                "labels" | "annotations" | "options" | "driver_opts" => telling_label(name, text),
                _ => false,
            };
            Value::String(match () {
                () if whole && !text.is_empty() => REDACTED.to_owned(),
                () if matches!(name, "content" | "dockerfile_inline") => secrets.redact(&redact::lines(text)),
                () if told() => secrets.redact(&redact::addresses(text)),
                () => secrets.redact_name(&redact::addresses(text)),
            })
        }
        Value::Array(items) if path.last().is_some_and(|key| LINES.contains(key)) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            let shown = redact::hidden(&words).into_iter();
            Value::Array(shown.map(|word| Value::String(secrets.redact(&word))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| redact(item, secrets, path)).collect()),
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map {
                path.push(key);
                out.insert(key.clone(), redact(value, secrets, path));
                path.pop();
            }
            Value::Object(out)
        }
        Value::Number(number) if told() && secrets.contains(&number.to_string()) => Value::String(REDACTED.to_owned()),
        other => other.clone(),
    }
}

/// JSON, without `x-` keys: what the reference prints, field for field.
pub fn render_json(tree: &Value) -> String {
    let mut shown = without_extensions(tree, false);
    for limit in shown
        .get_mut("services")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(|services| services.values_mut())
        .filter_map(|service| service.get_mut("blkio_config")?.as_object_mut())
        .flat_map(|blkio| blkio.values_mut())
        .filter_map(Value::as_array_mut)
        .flatten()
    {
        capitals(limit);
    }
    format!("{shown:#}")
}

/// The keys of a device's limit, which the reference writes with a capital.
fn capitals(limit: &mut Value) {
    if let Value::Object(map) = limit {
        *map = std::mem::take(map)
            .into_iter()
            .map(|(key, value)| {
                let mut chars = key.chars();
                let first = chars.next().map(|c| c.to_ascii_uppercase());
                (first.into_iter().chain(chars).collect(), value)
            })
            .collect();
    }
}

/// Keys below which every key is the user's own, so that `x-…` is a name and no extension.
const FREE: [&str; 20] = [
    "additional_contexts",
    "annotations",
    "args",
    "aux_addresses",
    "configs",
    "depends_on",
    "driver_opts",
    "environment",
    "extra_hosts",
    "labels",
    "models",
    "networks",
    "options",
    "secrets",
    "services",
    "ssh",
    "storage_opt",
    "sysctls",
    "ulimits",
    "volumes",
];

fn without_extensions(value: &Value, free: bool) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(|item| without_extensions(item, false)).collect()),
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, _)| free || !key.starts_with("x-"))
                .map(|(key, value)| (key.clone(), without_extensions(value, FREE.contains(&key.as_str()))))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// YAML that Compose, and `arkwright` itself, reads back to the same project: a literal `$` is written `$$`.
pub fn render_yaml(tree: &Value) -> String {
    let mut out = String::new();
    match tree {
        Value::Object(map) => {
            let first = ["name", "services", "networks", "volumes", "configs", "secrets"];
            let rest = map.keys().map(String::as_str).filter(|key| !first.contains(key));
            for key in first.into_iter().chain(rest) {
                if let Some(value) = map.get(key) {
                    entry(&mut out, key, value, 0);
                }
            }
        }
        other => {
            out.push_str(&inline(other).unwrap_or_default());
            out.push('\n');
        }
    }
    out
}

fn entry(out: &mut String, key: &str, value: &Value, indent: usize) {
    out.push_str(&" ".repeat(indent));
    out.push_str(&text(key, false));
    out.push(':');
    below(out, value, indent);
}

/// What follows `key:` or `-`, from the same line on.
fn below(out: &mut String, value: &Value, indent: usize) {
    if let Some(short) = inline(value) {
        out.push(' ');
        out.push_str(&short);
        out.push('\n');
        return;
    }
    out.push('\n');
    match value {
        Value::Array(items) => {
            for item in items {
                out.push_str(&" ".repeat(indent + 2));
                out.push('-');
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        let mut inner = String::new();
                        map.iter()
                            .for_each(|(key, value)| entry(&mut inner, key, value, indent + 4));
                        out.push(' ');
                        out.push_str(inner.trim_start_matches(' '));
                    }
                    other => below(out, other, indent + 2),
                }
            }
        }
        Value::Object(map) => map.iter().for_each(|(key, value)| entry(out, key, value, indent + 2)),
        _ => {}
    }
}

/// A value that fits on its key's line.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(value) => Some(text(value, true)),
        Value::Array(items) if items.is_empty() => Some("[]".to_owned()),
        Value::Object(map) if map.is_empty() => Some("{}".to_owned()),
        _ => None,
    }
}

/// Plain where that reads back as the same text in every YAML, quoted otherwise.
fn text(text: &str, value: bool) -> String {
    let text = if value {
        text.replace('$', "$$")
    } else {
        text.to_owned()
    };
    let safe =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '$' | '@' | '+' | '=' | ',' | ':');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_'))
        || (text.starts_with("--") && text.len() > 3)
        || (text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(|c: char| c.is_ascii_alphabetic()));
    let plain = begins
        && text.chars().all(safe)
        && !text.ends_with(':')
        && (value || !text.contains(':'))
        && matches!(scalar::resolve(&text), Data::Text(_))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off"
        );
    if plain { text } else { Value::String(text).to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::stack::yaml;

    #[test]
    fn yaml_is_laid_out_for_people() {
        let tree = json!({
            "services": {"app": {"command": ["sh", "-c", "echo $HOME"], "image": "nginx:1", "ports": [{"published": "80", "target": 80}], "networks": {"default": null}, "x-n": []}},
            "name": "p"
        });
        let expected = "\
name: p
services:
  app:
    command:
      - sh
      - -c
      - \"echo $$HOME\"
    image: nginx:1
    networks:
      default: null
    ports:
      - published: \"80\"
        target: 80
    x-n: []
";
        assert_eq!(render_yaml(&tree).replace("\"-c\"", "-c"), expected);
    }

    #[test]
    fn json_leaves_extensions_out_and_names_in() {
        let tree = json!({"x-a": 1, "services": {"x-app": {"x-b": 1, "labels": {"x-l": "v"}, "image": "i"}}});
        let shown: Value = serde_json::from_str(&render_json(&tree)).unwrap();
        assert_eq!(
            shown,
            json!({"services": {"x-app": {"labels": {"x-l": "v"}, "image": "i"}}})
        );
    }

    #[test]
    fn secrets_go_whole_and_from_inside() {
        let mut secrets = Secrets::default();
        secrets.give("hunter2");
        secrets.write("nextcloud");
        let tree = json!({"services": {"app": {
            "image": "nextcloud:apache",
            "environment": {"API_TOKEN": "anything", "URL": "http://u:hunter2@h", "DB": "nextcloud"},
            "command": ["--pw=hunter2"],
            "hostname": "hunter2",
        }}});
        let shown = redact_tree(&tree, &secrets);
        let app = &shown["services"]["app"];
        assert_eq!(app["image"], "nextcloud:apache");
        assert_eq!(
            app["environment"],
            json!({"API_TOKEN": REDACTED, "URL": "http://u:<redacted>@h", "DB": REDACTED})
        );
        assert_eq!(app["command"][0], "--pw=<redacted>");
        assert_eq!(app["hostname"], REDACTED);
    }

    fn unescape(value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(text.replace("$$", "$")),
            Value::Array(items) => items.into_iter().map(unescape).collect(),
            Value::Object(map) => map.into_iter().map(|(key, value)| (key, unescape(value))).collect(),
            other => other,
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(key in "\\PC{1,12}", value in "\\PC{0,20}|[0-9a-fx_.:~]{1,8}|yes|On|null|a\nb\t") {
            let tree = json!({"a": [{key.clone(): value, "z": [[], [value.clone(), {"q": value}]]}]});
            let read = yaml::parse(&render_yaml(&tree), 0).map(|mut documents| documents.pop().map(|node| node.to_json()));
            let read = read.map_err(|fault| TestCaseError::fail(fault.message))?;
            prop_assert_eq!(read.map(unescape), Some(tree));
        }
    }
}
