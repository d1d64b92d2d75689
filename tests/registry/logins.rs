use std::os::unix::fs::PermissionsExt;

use crate::project::{BACKEND, Project, ended, given};
use crate::server::{PASSWORD, Registry, USER, forget};

pub async fn a_login_from_a_file_is_seen_when_it_is_renewed(host: &str, registry: Registry) {
    registry.push(host, &format!("{BACKEND}:1.0.0"), "file/web:1").await;
    let image = registry.name("file/web:1");
    let project = Project::new(host, "file");
    project.plain(&image);

    let errors = project.ends(4, &["up"]);
    assert!(
        errors.contains(&format!("docker login {}", registry.address)),
        "{errors}"
    );
    project.log_in(&registry, "hunter2");
    let errors = project.ends(4, &["up"]);
    let file = project.path("home/.docker/config.json").display().to_string();
    assert!(errors.contains(&file) && errors.contains("was refused"), "{errors}");
    project.write("home/.docker/config.json", "{\"auths\": \"hunter2\"}");
    let errors = project.ends(4, &["up"]);
    assert!(errors.contains(&file) && errors.contains("line 1"), "{errors}");
    assert_eq!(
        project.json(&["ps", "--json"]),
        serde_json::json!([]),
        "nothing was made"
    );

    project.log_in(&registry, PASSWORD);
    project.ends(0, &["up"]);
    assert_eq!(project.json(&["ps", "--json"])[0]["state"], "running");
    drop(project);
    forget(host, &image).await;
}

pub async fn a_login_from_a_helper_program(host: &str, registry: Registry) {
    registry.push(host, &format!("{BACKEND}:1.0.0"), "helper/web:1").await;
    let image = registry.name("helper/web:1");
    let project = Project::new(host, "helper");
    project.plain(&image);
    let address = &registry.address;
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = get ] || exit 2\nread -r server\nif [ \"$server\" = {address} ]; then\n  \
         printf '{{\"ServerURL\":\"%s\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}' \"$server\"\nelse\n  \
         echo 'credentials not found in native keychain'\n  exit 1\nfi\n"
    );
    let programs = project.path("bin");
    project.write("bin/docker-credential-arktest", &script);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(programs.join("docker-credential-arktest"), executable).expect("executable");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a PATH"));
    let up = || {
        let output = project
            .command(&["up"])
            .env("PATH", &path)
            .output()
            .expect("the binary runs");
        println!("{}", String::from_utf8_lossy(&output.stderr));
        output
    };

    let config = |text: &str| project.write("home/.docker/config.json", text);
    config(&format!("{{\"credHelpers\":{{\"{address}\":\"../../bin/sh\"}}}}"));
    assert!(ended(4, &up()).contains("is no name of a credential helper"));
    config(&format!("{{\"credHelpers\":{{\"{address}\":\"ark-none\"}}}}"));
    assert!(ended(4, &up()).contains("docker-credential-ark-none is not on the PATH"));
    // One that does not have it is no login.
    config("{\"credHelpers\":{\"elsewhere.example\":\"arktest\"}}");
    assert!(ended(4, &up()).contains("this host has none"));
    config(&format!(
        "{{\"auths\":{{\"{address}\":{{}}}},\"credHelpers\":{{\"{address}\":\"arktest\"}}}}"
    ));
    ended(0, &up());
    drop(project);
    forget(host, &image).await;
}

pub async fn a_login_given_for_this_once_comes_first_and_is_written_nowhere(host: &str, registry: Registry) {
    registry.push(host, &format!("{BACKEND}:1.0.0"), "given/web:1").await;
    registry.push(host, &format!("{BACKEND}:1.1.0"), "given/web:2").await;
    let image = registry.name("given/web:1");
    let project = Project::new(host, "given");
    project.released(&image, "");
    project.log_in(&registry, "hunter2");
    assert!(ended(3, &project.run_given(&["up", "--registry-auth"], "hunter2")).contains("is not JSON of the shape"));
    ended(0, &project.run_given(&["up", "--registry-auth"], &given(&registry)));

    let target = format!("web={}", registry.name("given/web:2"));
    let deploy = ["deploy", &target, "--yes", "--registry-auth"];
    let errors = ended(0, &project.run_given(&deploy, &given(&registry)));
    assert!(errors.contains("pulled "), "{errors}");
    let written = project.everything_written();
    assert!(
        written.contains(&registry.address) && !written.contains(PASSWORD),
        "no journal has the login"
    );
    drop(project);
    forget(host, &image).await;
    forget(host, &registry.name("given/web:2")).await;
}
