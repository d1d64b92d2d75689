//! Random pieces of Compose files: scalars, references, YAML nodes, lines of dotenv files.

use fastrand::Rng;

fn one<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.usize(..from.len())]
}

pub fn name(rng: &mut Rng) -> String {
    one(
        rng,
        &[
            "A",
            "B",
            "C",
            "TAG",
            "NAME",
            "V",
            "X_TOKEN",
            "COMPOSE_FILE",
            "COMPOSE_PROFILES",
            "COMPOSE_PROJECT_NAME",
        ],
    )
    .to_owned()
}

pub fn section(rng: &mut Rng) -> &'static str {
    one(
        rng,
        &[
            "services", "networks", "volumes", "secrets", "configs", "models", "include", "name", "x-y", "version",
        ],
    )
}

pub fn key(rng: &mut Rng) -> &'static str {
    const KEYS: [&str; 64] = [
        "image",
        "build",
        "command",
        "entrypoint",
        "environment",
        "env_file",
        "label_file",
        "labels",
        "ports",
        "expose",
        "volumes",
        "tmpfs",
        "networks",
        "network_mode",
        "depends_on",
        "healthcheck",
        "test",
        "interval",
        "deploy",
        "resources",
        "limits",
        "memory",
        "cpus",
        "replicas",
        "restart_policy",
        "logging",
        "options",
        "extra_hosts",
        "ulimits",
        "sysctls",
        "secrets",
        "configs",
        "devices",
        "gpus",
        "profiles",
        "pull_policy",
        "extends",
        "file",
        "service",
        "path",
        "context",
        "args",
        "external",
        "name",
        "driver_opts",
        "ipam",
        "config",
        "subnet",
        "source",
        "target",
        "type",
        "published",
        "mode",
        "condition",
        "required",
        "mem_limit",
        "scale",
        "stop_grace_period",
        "container_name",
        "content",
        "provider",
        "post_start",
        "develop",
        "blkio_config",
    ];
    KEYS[rng.usize(..KEYS.len())]
}

/// A plain scalar that means something somewhere.
pub fn scalar(rng: &mut Rng) -> String {
    if rng.u8(..) < 60 {
        return reference(rng, 3);
    }
    const WORDS: [&str; 76] = [
        "",
        "~",
        "null",
        "true",
        "no",
        "on",
        "0",
        "-1",
        "80",
        "0444",
        "0x1F",
        "1e3",
        "1e400",
        ".inf",
        "-.nan",
        "1_000",
        "18446744073709551615",
        "-9223372036854775809",
        "99999999999999999999999",
        "1.5",
        "1m30s",
        "9999999h",
        "1w",
        "5x",
        "512m",
        "1.5g",
        "1p",
        "9e99t",
        "80:80",
        "1-65535:1-65535",
        "[::1]:80:80",
        "0:0",
        "65536",
        "80-79",
        "1-65535",
        "::",
        ":",
        "a:b:c:d",
        "C:\\x:/y",
        "~/x:/y",
        "./a:/b:ro,z",
        "../../../..",
        "/",
        "/run:size=1g,mode=0",
        "$",
        "$$",
        "host",
        "service:app",
        "service:",
        "container:x",
        "x",
        "always",
        "on-failure:99999999999",
        "every_1w",
        "2024-01-01",
        "12:30:45",
        "[]",
        "{}",
        "[a, a]",
        "{a: b}",
        "[[[[]]]]",
        "*a",
        "&a x",
        "!reset null",
        "!override []",
        "'",
        "\"",
        "\"a\\u0000b\"",
        "é中文\u{feff}",
        "a\u{7f}",
        "|",
        ">-",
        "curl -u a:b http://u:p@h",
        "sh -c 'a b",
        "a && b",
        "service_healthy",
    ];
    WORDS[rng.usize(..WORDS.len())].to_owned()
}

pub fn quoted(rng: &mut Rng) -> String {
    let text = scalar(rng);
    match rng.bool() {
        true => format!("'{}'", text.replace('\'', "''")),
        false => format!("\"{}\"", text.replace('"', "\\\"")),
    }
}

/// `$A`, `${A:-…}` and what looks like them.
pub fn reference(rng: &mut Rng, depth: usize) -> String {
    let name = name(rng);
    if depth == 0 || rng.u8(..) < 60 {
        return match rng.u8(..6) {
            0 => "${".to_owned(),
            1 => format!("${{{name}!}}"),
            2 => format!("$${name}"),
            _ => format!("${name}"),
        };
    }
    let operator = one(rng, &[":-", "-", ":?", "?", ":+", "+", "", ":", "="]);
    let inner = match rng.u8(..3) {
        0 => "x{y}".to_owned(),
        1 => reference(rng, depth - 1),
        _ => format!("{}{}", reference(rng, depth - 1), reference(rng, depth - 1)),
    };
    format!("a${{{name}{operator}{inner}}}")
}

pub fn alias(rng: &mut Rng) -> &'static str {
    one(
        rng,
        &["*a", "*b", "[*a, *b]", "*c", "{x: y}", "[{image: i}]", "null", "*i"],
    )
}

/// A flow node.
pub fn node(rng: &mut Rng, depth: usize) -> String {
    match rng.u8(..if depth == 0 { 2 } else { 5 }) {
        0 => scalar(rng),
        1 => quoted(rng),
        2 => {
            let items: Vec<String> = (0..rng.usize(..4)).map(|_| node(rng, depth - 1)).collect();
            format!("[{}]", items.join(", "))
        }
        _ => {
            let items: Vec<String> = (0..rng.usize(..4))
                .map(|_| format!("{}: {}", key(rng), node(rng, depth - 1)))
                .collect();
            format!("{{{}}}", items.join(", "))
        }
    }
}

/// A whole small file.
pub fn document(rng: &mut Rng) -> String {
    format!(
        "services:\n  app: {}\n  db: {{image: d, {}: {}}}\n",
        node(rng, 4),
        key(rng),
        node(rng, 3)
    )
}

/// A line of a dotenv file.
pub fn assignment(rng: &mut Rng) -> String {
    let name = name(rng);
    let value = if rng.bool() { scalar(rng) } else { quoted(rng) };
    match rng.u8(..8) {
        0 => name,
        1 => format!("export {name}={value}"),
        2 => format!("{name}: {value}"),
        3 => format!("{name}=${name}${name}"),
        4 => format!("{name}={value} # {value}"),
        5 => format!("{name} {value}"),
        _ => format!("{name}={value}"),
    }
}

/// Anything at all.
pub fn fragment(rng: &mut Rng) -> String {
    match rng.u8(..4) {
        0 => scalar(rng),
        1 => node(rng, 2),
        2 => one(
            rng,
            &[
                "\n", "\t", ": ", "- ", "{", "}", "[", "]", "#", "&", "*", "!", "|", ">", "'", "\"", "%", "@", "`",
                "\r", "\0", "\u{85}", "\u{2028}", "?",
            ],
        )
        .to_owned(),
        _ => rng.char(..).to_string(),
    }
}
