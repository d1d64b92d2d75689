//! Files made to exhaust whoever reads them.

use super::*;

#[test]
fn size_is_bounded() {
    let mut large = "# ".to_owned() + &"x".repeat(5 << 20);
    large.push_str("\nservices: {a: {image: a}}");
    assert!(compose(&large).bad().contains("larger than"));
    let mut services = "services:\n  s0: {image: a, labels: {".to_owned();
    (0..2000).for_each(|n| services.push_str(&format!("l{n}: x, ")));
    services.push_str("}}\n");
    (1..1000).for_each(|n| services.push_str(&format!("  s{n}: {{extends: s0}}\n")));
    assert!(compose(&services).first().contains("too large by extending"));
    let chain: String = (1..200).map(|n| format!("  s{n}: {{extends: s{}}}\n", n - 1)).collect();
    assert!(
        compose(&format!("services:\n  s0: {{image: a}}\n{chain}"))
            .first()
            .contains("deep")
    );
}

/// Most memory a refusal may have held, in KiB: the whole test process, other tests beside it included.
const CEILING: u64 = 1 << 20;

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// Refused with these words, in little memory.
fn refused(project: &Project, words: &str) {
    let first = project.first();
    assert!(first.contains(words), "{first}");
    assert!(peak_memory() < CEILING, "{} KiB", peak_memory());
}

#[test]
fn aliases_of_aliases() {
    let mut text = "x-0: &a0 {k0: x, k1: x, k2: x, k3: x, k4: x, k5: x, k6: x, k7: x}\n".to_owned();
    for level in 1..12 {
        let last = level - 1;
        let keys: Vec<String> = (0..8).map(|n| format!("k{n}: *a{last}")).collect();
        text.push_str(&format!("x-{level}: &a{level} {{{}}}\n", keys.join(", ")));
    }
    text.push_str("services: {a: {image: i}}\n");
    refused(&compose(&text), "values once aliases are written out");

    let mut merged = "x-0: &a0 {k: x}\n".to_owned();
    for level in 1..60_000 {
        merged.push_str(&format!("x-{level}: &a{level} {{<<: *a{}, k{level}: x}}\n", level - 1));
    }
    merged.push_str("services: {a: {image: i}}\n");
    refused(&compose(&merged), "nested deeper");
}

#[test]
fn nesting_and_long_scalars() {
    refused(&compose(&"{a: ".repeat(50_000)), "nested deeper");
    refused(&compose(&"- ".repeat(50_000)), "nested deeper");
    let scalar = format!("services: {{a: {{image: '{}'}}}}", "x".repeat(5 << 20));
    refused(&compose(&scalar), "larger than");
    let items = format!("services: {{a: {{image: i}}}}\nx-a: [{}]", "x,".repeat(600_000));
    refused(&compose(&items), "values once aliases are written out");
}

#[test]
fn ranges_of_ports() {
    let ports = |service: &str| format!("  {service}: {{image: i, ports: ['1-65535:1-65535']}}\n");
    refused(&compose(&format!("services:\n{}", ports("a"))), "more than 32768 ports");
    let halves: String = (0..300)
        .map(|n| format!("  s{n}: {{image: i, ports: ['1-30000']}}\n"))
        .collect();
    refused(&compose(&format!("services:\n{halves}")), "more than 32768 ports");
    let list = vec!["'1-20000:1-20000'"; 5_000].join(", ");
    refused(
        &compose(&format!("services: {{a: {{image: i, ports: [{list}]}}}}")),
        "more than 32768 ports",
    );
    let extending: String = (0..400)
        .map(|n| format!("  t{n}: {{extends: {{file: base.yaml, service: s}}}}\n"))
        .collect();
    let base = "services: {s: {image: i, ports: ['1-30000']}}";
    refused(
        &project(&[
            ("compose.yaml", &format!("services:\n{extending}")),
            ("base.yaml", base),
        ]),
        "too large by extending",
    );
}

#[test]
fn references_that_grow() {
    let deep = format!(
        "services: {{a: {{image: '{}x{}'}}}}",
        "${A:-".repeat(100),
        "}".repeat(100)
    );
    refused(&compose(&deep), "refers deeper");
    let doubling: String = (1..40).map(|n| format!("V{n}=$V{}$V{}\n", n - 1, n - 1)).collect();
    let dotenv = format!("V0={}\n{doubling}", "x".repeat(100));
    let asks = "services: {a: {image: '$V39'}}";
    assert!(project(&[("compose.yaml", asks), (".env", &dotenv)]).load().is_err());
    assert!(
        project(&[
            ("compose.yaml", "services: {a: {image: i, env_file: e.env}}"),
            ("e.env", &dotenv)
        ])
        .load()
        .is_err()
    );
    let itself = "A=x\n".to_owned() + &"A=$A$A\n".repeat(60);
    assert!(
        project(&[("compose.yaml", "services: {a: {image: '$A'}}"), (".env", &itself)])
            .load()
            .is_err()
    );
    let wide: String = (0..5_000).map(|n| format!("  l{n}: ${{BIG}}\n")).collect();
    let wide = compose(&format!("services: {{a: {{image: i}}}}\nx-a:\n{wide}")).env("BIG", &"x".repeat(100_000));
    refused(&wide, "the value becomes longer");
}

#[test]
fn files_in_circles() {
    let both = [
        ("compose.yaml", "include: [other.yaml]\nservices: {a: {image: i}}"),
        ("other.yaml", "include: [compose.yaml]"),
    ];
    refused(&project(&both), "includes itself");
    let names: Vec<String> = (0..40).map(|n| format!("f{n}.yaml")).collect();
    let texts: Vec<String> = (0..40)
        .map(|n| format!("include: [f{}.yaml, f{}.yaml]\n", n + 1, n + 1))
        .collect();
    let mut files: Vec<(&str, &str)> = names
        .iter()
        .map(String::as_str)
        .zip(texts.iter().map(String::as_str))
        .collect();
    files.push(("compose.yaml", "include: [f0.yaml]\nservices: {a: {image: i}}"));
    files.push(("f40.yaml", "services: {z: {image: i}}"));
    refused(&project(&files), "include each other too deep");
    let two = [
        ("compose.yaml", "services: {a: {extends: {file: b.yaml, service: b}}}"),
        ("b.yaml", "services: {b: {extends: {file: compose.yaml, service: a}}}"),
    ];
    refused(&project(&two), "in a circle");
}
