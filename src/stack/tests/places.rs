//! Thirty broken lines, each in every file it can stand in: the error names that file, the line and the column.

use super::*;

/// A line of a service, and what in it the error points at.
const BROKEN: [(&str, &str); 30] = [
    ("imag: x", "imag"),
    ("image: [x]", "[x]"),
    ("image: 5", "5"),
    ("image: ${TAG:?no}", "${TAG"),
    ("image: ${TAG", "${TAG"),
    ("image: 2024-01-01", "2024"),
    ("ports: ['70000:80']", "'70000"),
    ("ports: ['80:80:80:80:x']", "'80:80:80"),
    ("ports: ['5-1:80']", "'5-1"),
    ("ports: [{published: 80}]", "published"),
    ("volumes: ['aa:/b:ro:x']", "'aa:"),
    ("volumes: [{type: bind, target: /x}]", "type"),
    ("volumes: ['none:/x']", "'none"),
    ("networks: [none]", "none"),
    ("depends_on: [none]", "none"),
    ("depends_on: {b: {condition: sometime}}", "sometime"),
    ("secrets: [none]", "none"),
    ("configs: [none]", "none"),
    ("environment: {A: [1]}", "[1]"),
    ("command: \"a 'b\"", "\"a"),
    ("healthcheck: {test: [curl, x]}", "curl"),
    ("healthcheck: {interval: 5}", "5}"),
    ("healthcheck: {interval: often}", "often"),
    ("deploy: {resources: {limits: {cpu: 1}}}", "cpu:"),
    ("deploy: {replicas: many}", "many"),
    ("mem_limit: lots", "lots"),
    ("restart: sometimes", "sometimes"),
    ("pull_policy: every_x", "every_x"),
    ("security_opt: [a, b, a]", "a]"),
    ("extra_hosts: [nowhere]", "nowhere"),
];

/// Where `line` stands in files of this name.
fn points(files: &[(&str, &str)], asked: &[&str], file: &str, number: usize, line: &str, at: &str) {
    let project = project(files).with(|request| request.files = asked.iter().map(PathBuf::from).collect());
    let error = match project.load() {
        Ok(loaded) => panic!("{line} loaded from {file}: {}", loaded.tree),
        Err(error) => error,
    };
    let column = 5 + line.find(at).unwrap_or_else(|| panic!("no {at} in {line}"));
    let place = error.place().unwrap_or_else(|| panic!("{line}: no place: {error}"));
    let found = (place.file.to_string_lossy().into_owned(), place.line);
    assert_eq!(found, (file.to_owned(), number), "{line}: {error}");
    // A mapping is pointed at where its first key stands or where its brace does.
    assert!(place.column.abs_diff(column) <= 1, "{line}: not at {column}: {error}");
    assert!(place.text.contains(line), "{line}: {error}");
    assert!(
        error.help().is_some_and(|help| !help.is_empty()),
        "{line}: no help: {error}"
    );
}

#[test]
fn every_error_is_told_where_it_stands() {
    for (line, at) in BROKEN {
        let broken = format!("services:\n  a:\n    {line}\n");
        let whole = format!("services:\n  b: {{image: b}}\n  a:\n    {line}\n    build: .\n");
        points(
            &[("compose.yaml", &whole)],
            &["compose.yaml"],
            "compose.yaml",
            4,
            line,
            at,
        );
        let base = "services: {a: {image: i}, b: {image: b}}";
        let files = [("compose.yaml", base), ("over.yaml", broken.as_str())];
        points(&files, &["compose.yaml", "over.yaml"], "over.yaml", 3, line, at);
        let including = "include: [sub/in.yaml]\nservices: {c: {image: c}}";
        let files = [("compose.yaml", including), ("sub/in.yaml", whole.as_str())];
        points(&files, &["compose.yaml"], "sub/in.yaml", 4, line, at);
        let extending = "services: {z: {extends: {file: sub/base.yaml, service: a}, build: .}, b: {image: b}}";
        let files = [("compose.yaml", extending), ("sub/base.yaml", broken.as_str())];
        points(&files, &["compose.yaml"], "sub/base.yaml", 3, line, at);
    }
}

#[test]
fn so_is_every_error_in_a_dotenv_file() {
    for (text, line, column) in [
        ("A=1\nB!=2\n", 2, 2),
        ("A=1\n\n  B C=2\n", 3, 3),
        ("A='x\n", 1, 3),
        ("A=\"x\nB=1\n", 1, 3),
        ("A=${\n", 1, 3),
        ("A=1\nB=${A!}\n", 2, 3),
        ("A=1\nB=${NO:?why}\n", 2, 3),
        ("A=1\n=2\n", 2, 1),
    ] {
        for (name, compose) in [
            (".env", "services: {a: {image: i}}"),
            ("e.env", "services: {a: {image: i, env_file: e.env}}"),
        ] {
            let error = project(&[("compose.yaml", compose), (name, text)]).load();
            let error = error.map(|_| ()).expect_err(text);
            let place = error.place().unwrap_or_else(|| panic!("{text}: {error}"));
            let found = (place.file.to_string_lossy().into_owned(), place.line, place.column);
            assert_eq!(found, (name.to_owned(), line, column), "{text}: {error}");
            assert!(error.help().is_some(), "{text}");
        }
    }
}
