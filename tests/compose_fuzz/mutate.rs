//! Changes to a case: YAML nodes cut out, moved and doubled, scalars replaced, bytes changed, files put together.

use fastrand::Rng;

use crate::grammar;
use crate::seeds::Case;

/// Longest a file may grow, in bytes; what is larger is tested on purpose elsewhere.
const LONGEST: usize = 64 << 10;

/// A changed copy of one of the cases.
pub fn case(rng: &mut Rng, cases: &[Case]) -> Case {
    let mut case = pick(rng, cases).clone();
    for _ in 0..=skewed(rng, 6) {
        change(rng, &mut case, cases);
    }
    if rng.u8(..) < 40 {
        case.env.insert(grammar::name(rng), grammar::scalar(rng));
    }
    if rng.u8(..) < 20 {
        case.profiles
            .push(pick::<str>(rng, &["*", "x", "debug", ""]).to_owned());
    }
    for text in case.files.values_mut() {
        let end = (0..=LONGEST.min(text.len()))
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    case
}

fn pick<'a, T: ?Sized>(rng: &mut Rng, from: &'a [impl std::borrow::Borrow<T>]) -> &'a T {
    from[rng.usize(..from.len())].borrow()
}

/// Mostly small.
fn skewed(rng: &mut Rng, most: usize) -> usize {
    let bound = rng.usize(..=most);
    rng.usize(..=bound)
}

fn change(rng: &mut Rng, case: &mut Case, cases: &[Case]) {
    if rng.u8(..) < 12 {
        return join(rng, case, cases);
    }
    let names: Vec<String> = case.files.keys().cloned().collect();
    let name = pick::<String>(rng, &names).clone();
    let dotenv = name.contains("env");
    let Some(text) = case.files.get(&name) else { return };
    let changed = match dotenv {
        true => dotenv_text(rng, text),
        false => yaml_text(rng, text, cases),
    };
    case.files.insert(name, changed);
}

/// Brings a file of another case in: on top, included or extended.
fn join(rng: &mut Rng, case: &mut Case, cases: &[Case]) {
    let other = pick::<Case>(rng, cases);
    let name = format!("joined{}.yaml", case.files.len());
    let Some(text) = other.files.get(&other.asked[0]) else {
        return;
    };
    case.files.insert(name.clone(), text.clone());
    match rng.u8(..4) {
        0 | 1 => case.asked.push(name),
        2 => edit_first(case, &format!("\ninclude: [{name}]\n")),
        _ => {
            let service = pick::<str>(rng, &["app", "a", "web", "db", "base"]).to_owned();
            edit_first(
                case,
                &format!("\n  zz{{}}: {{extends: {{file: {name}, service: {service}}}}}\n"),
            );
        }
    }
}

fn edit_first(case: &mut Case, added: &str) {
    if let Some(text) = case.asked.first().and_then(|name| case.files.get_mut(name)) {
        text.push_str(added);
    }
}

/// A line with what is indented below it.
fn block(lines: &[&str], at: usize) -> std::ops::Range<usize> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = indent(lines[at]);
    let length = lines[at + 1..]
        .iter()
        .take_while(|line| line.trim().is_empty() || indent(line) > own)
        .count();
    at..at + 1 + length
}

fn yaml_text(rng: &mut Rng, text: &str, cases: &[Case]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return grammar::document(rng);
    }
    let at = rng.usize(..lines.len());
    let range = block(&lines, at);
    let mut out: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let indent = lines[at].len() - lines[at].trim_start().len();
    match rng.u8(..20) {
        0 => drop(out.drain(range)),
        1 => {
            let copy: Vec<String> = out[range].to_vec();
            let to = rng.usize(..=out.len());
            out.splice(to..to, copy);
        }
        2 | 3 => {
            let other = pick::<Case>(rng, cases);
            let text = other
                .files
                .values()
                .nth(rng.usize(..other.files.len()))
                .map_or("", String::as_str);
            let theirs: Vec<&str> = text.lines().collect();
            if !theirs.is_empty() {
                let from = block(&theirs, rng.usize(..theirs.len()));
                let base = theirs[from.start].len() - theirs[from.start].trim_start().len();
                let moved = theirs[from].iter().map(|line| {
                    let own = line.len() - line.trim_start().len();
                    format!("{}{}", " ".repeat(indent + own.saturating_sub(base)), line.trim_start())
                });
                let moved: Vec<String> = moved.collect();
                out.splice(at..at, moved);
            }
        }
        4..=8 => out[at] = scalar_in(rng, lines[at]),
        9 => out[at] = format!("{}{}: {}", " ".repeat(indent), grammar::key(rng), grammar::node(rng, 3)),
        10 => out.insert(at, format!("{}- {}", " ".repeat(indent), grammar::node(rng, 2))),
        11 => out.insert(at, format!("{}<<: {}", " ".repeat(indent), grammar::alias(rng))),
        12 => out[at] = tagged(rng, lines[at]),
        13 => out[at] = out[at].replacen("  ", "", 1),
        14 => out[at] = format!("  {}", out[at]),
        15 => out.insert(at, "---".to_owned()),
        16 => {
            let other = rng.usize(..out.len());
            out.swap(at, other);
        }
        17 => out.push(format!("{}: {}", grammar::section(rng), grammar::node(rng, 4))),
        _ => return bytes(rng, text),
    }
    let mut text = out.join("\n");
    text.push('\n');
    text
}

/// The line with another value.
fn scalar_in(rng: &mut Rng, line: &str) -> String {
    let value = if rng.bool() {
        grammar::scalar(rng)
    } else {
        grammar::quoted(rng)
    };
    match (line.find(": "), line.find("- ")) {
        (Some(colon), _) => format!("{}: {value}", &line[..colon]),
        (None, Some(dash)) => format!("{}- {value}", &line[..dash]),
        (None, None) => format!("{line} {value}"),
    }
}

/// The line's value with a tag or an anchor before it.
fn tagged(rng: &mut Rng, line: &str) -> String {
    let tag = pick::<str>(
        rng,
        &["!reset", "!override", "&a", "&b", "!!str", "!!int", "!x", "!!merge"],
    );
    line.replacen(": ", &format!(": {tag} "), 1)
}

fn dotenv_text(rng: &mut Rng, text: &str) -> String {
    match rng.u8(..4) {
        0 => bytes(rng, text),
        _ => {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let at = rng.usize(..=lines.len());
            lines.insert(at, grammar::assignment(rng));
            lines.join(if rng.u8(..) < 20 { "\r\n" } else { "\n" })
        }
    }
}

/// Characters cut, put in and doubled anywhere.
fn bytes(rng: &mut Rng, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=skewed(rng, 4) {
        let at = rng.usize(..=chars.len());
        let end = (at + skewed(rng, 40)).min(chars.len());
        match rng.u8(..4) {
            0 => drop(chars.drain(at..end)),
            1 => {
                let copy: Vec<char> = chars[at..end].to_vec();
                let times = 1 + skewed(rng, 20);
                chars.splice(at..at, copy.iter().cycle().take(copy.len() * times).copied());
            }
            _ => {
                let put = grammar::fragment(rng);
                chars.splice(at..at, put.chars());
            }
        }
    }
    chars.into_iter().collect()
}
