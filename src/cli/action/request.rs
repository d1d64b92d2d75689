use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::github::{Context, InputError, Inputs};
use crate::http::socket_of;
use crate::model::{Logins, ProjectName};
use crate::ports::NewDeployment;
use crate::registry::{GivenError, parse_given};
use crate::run::{Order, Target};

/// Where agents listen when nothing else is said.
const SOCKETS: &str = "/run/arkwright";

/// Which of the folders in `actions/` is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Action {
    Deploy,
    Rollback,
    Backup,
    RestoreDrill,
}

impl Action {
    /// The folder's name in `actions/`.
    pub fn name(self) -> &'static str {
        match self {
            Action::Deploy => "deploy",
            Action::Rollback => "rollback",
            Action::Backup => "backup",
            Action::RestoreDrill => "restore-drill",
        }
    }

    /// Every input of its `action.yml`.
    pub fn inputs(self) -> &'static [&'static str] {
        match self {
            Action::Deploy => &[
                "service",
                "image",
                "no-canary",
                "registry-auth",
                "project",
                "socket",
                "binary",
                "github-token",
                "environment",
                "production",
                "transient",
                "ref",
                "url",
            ],
            Action::Rollback => &[
                "service",
                "group",
                "reason",
                "project",
                "socket",
                "binary",
                "github-token",
                "environment",
                "production",
                "transient",
                "ref",
                "url",
            ],
            Action::Backup => &["set", "project", "socket", "binary"],
            Action::RestoreDrill => &["drill", "project", "socket", "binary"],
        }
    }

    /// Outcomes with which the step passes.
    pub fn good(self) -> &'static [&'static str] {
        match self {
            Action::Deploy => &["deployed", "unchanged"],
            Action::Rollback => &["rolled_back"],
            Action::Backup => &["published"],
            Action::RestoreDrill => &["passed"],
        }
    }
}

/// What a step was asked to do.
pub(super) struct Requested {
    pub order: Order,
    pub socket: PathBuf,
    pub announcement: Option<Announcement>,
    /// Where what is released answers.
    pub url: Option<String>,
    /// For the pulls of the order.
    pub logins: Logins,
}

/// The GitHub Deployment that goes with a release.
pub(super) struct Announcement {
    pub token: String,
    pub repository: String,
    pub deployment: NewDeployment,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the input `github-token` needs {0}, which the runner sets; leave the input out where there is no GitHub")]
    NotOnARunner(&'static str),
    #[error("the input `registry-auth` cannot be used")]
    Logins(#[from] GivenError),
    #[error("{folder} holds {found}: say which project with the input `project`, or the agent's socket with `socket`")]
    WhichProject { folder: String, found: String },
}

impl Requested {
    pub fn read(action: Action, json: Option<&str>, context: &Context) -> Result<Self, RequestError> {
        let inputs = Inputs::parse(json.ok_or(InputError::Missing)?, action.inputs())?;
        let order = order(action, &inputs)?;
        let url = url(&inputs)?;
        let announcement = match action {
            Action::Deploy | Action::Rollback => announcement(action, &inputs, &order, context)?,
            Action::Backup | Action::RestoreDrill => None,
        };
        Ok(Requested {
            order,
            socket: socket(&inputs, Path::new(SOCKETS))?,
            announcement,
            url,
            logins: logins(action, &inputs)?,
        })
    }
}

fn order(action: Action, inputs: &Inputs) -> Result<Order, InputError> {
    let owned = |name| Ok::<_, InputError>(inputs.text(name)?.map(str::to_owned));
    Ok(match action {
        Action::Deploy => {
            let mut targets: Vec<Target> = services(inputs)?;
            if let Some(image) = owned("image")? {
                let [only] = &mut targets[..] else {
                    return Err(bad(
                        "image",
                        "goes with one service; of several write SERVICE=IMAGE in `service`",
                    ));
                };
                if only.image.replace(image).is_some() {
                    return Err(bad("image", "is said in `service` already"));
                }
            }
            // A workflow keeps to the calendar: whoever overrides it does so on the host.
            Order::deploy(targets, inputs.flag("no-canary", false)?, None)
        }
        Action::Rollback => Order::rollback(services(inputs)?, inputs.flag("group", false)?, owned("reason")?),
        Action::Backup => Order::Backup {
            set: inputs.required("set")?.to_owned(),
        },
        Action::RestoreDrill => Order::Drill {
            name: inputs.required("drill")?.to_owned(),
        },
    })
}

/// One, or several with spaces between them.
fn services<T: std::str::FromStr<Err: std::fmt::Display>>(inputs: &Inputs) -> Result<Vec<T>, InputError> {
    let words = inputs.required("service")?.split_whitespace();
    let one = |word: &str| {
        word.parse()
            .map_err(|error: T::Err| bad("service", &format!("does not fit: {error}")))
    };
    words.map(one).collect()
}

fn bad(name: &'static str, why: &str) -> InputError {
    InputError::Bad {
        name,
        why: why.to_owned(),
    }
}

/// The same document that `--registry-auth` takes.
fn logins(action: Action, inputs: &Inputs) -> Result<Logins, RequestError> {
    let given = match action {
        Action::Deploy => inputs.document("registry-auth"),
        _ => None,
    };
    Ok(given
        .map(|text| parse_given(text.as_bytes()))
        .transpose()?
        .unwrap_or_default())
}

fn url(inputs: &Inputs) -> Result<Option<String>, InputError> {
    let Some(url) = inputs.text("url")? else {
        return Ok(None);
    };
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(Some(url.to_owned()));
    }
    Err(bad("url", "begins neither with https:// nor with http://"))
}

fn announcement(
    action: Action,
    inputs: &Inputs,
    order: &Order,
    context: &Context,
) -> Result<Option<Announcement>, RequestError> {
    let Some(token) = inputs.text("github-token")? else {
        return Ok(None);
    };
    let repository = context.repository.clone();
    let git_ref = match inputs.text("ref")? {
        Some(said) => Some(said.to_owned()),
        None => context.sha.clone(),
    };
    Ok(Some(Announcement {
        token: token.to_owned(),
        repository: repository.ok_or(RequestError::NotOnARunner("GITHUB_REPOSITORY"))?,
        deployment: NewDeployment {
            git_ref: git_ref.ok_or(RequestError::NotOnARunner("GITHUB_SHA"))?,
            task: action.name().to_owned(),
            environment: inputs.text("environment")?.unwrap_or("production").to_owned(),
            description: order.to_string(),
            production: inputs.flag("production", true)?,
            transient: inputs.flag("transient", false)?,
        },
    }))
}

/// The agent's socket: said, or the project's, or the only one there is.
fn socket(inputs: &Inputs, folder: &Path) -> Result<PathBuf, RequestError> {
    if let Some(socket) = inputs.text("socket")? {
        return Ok(socket.into());
    }
    if inputs.text("project")?.is_some() {
        return Ok(socket_of(&inputs.parsed::<ProjectName>("project")?));
    }
    let mut found: Vec<PathBuf> = match folder.read_dir() {
        Ok(entries) => entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
            .collect(),
        // No agent has made the folder.
        Err(_) => Vec::new(),
    };
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (last, more) => Err(RequestError::WhichProject {
            folder: folder.display().to_string(),
            found: match last {
                None => "no agent's socket".into(),
                Some(_) => format!("{} agents' sockets", more + 1),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(action: Action, json: &str) -> Result<Requested, RequestError> {
        let context = Context::new(|name| (name == "GITHUB_REPOSITORY").then(|| "church/ark".to_owned()));
        Requested::read(action, Some(json), &context)
    }

    #[test]
    fn inputs_become_an_order() {
        let requested = read(
            Action::Deploy,
            r#"{"service":"web","image":"web:2","no-canary":"false","project":"ark","url":"https://x.example"}"#,
        )
        .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(requested.order.to_string(), "deploy web=web:2");
        assert_eq!(requested.socket, Path::new("/run/arkwright/ark.sock"));
        assert!(requested.announcement.is_none());
        for (action, json, words) in [
            (
                Action::Deploy,
                r#"{"service":"web=web:2  api","socket":"/x"}"#,
                "deploy web=web:2 api",
            ),
            (
                Action::Deploy,
                r#"{"service":"web=web:2","socket":"/x"}"#,
                "deploy web=web:2",
            ),
            (
                Action::Rollback,
                r#"{"service":"web api","socket":"/x"}"#,
                "roll back web api",
            ),
            (
                Action::Rollback,
                r#"{"service":"web","group":"true","socket":"/x"}"#,
                "roll back web and what was released with it",
            ),
        ] {
            let requested = read(action, json).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(requested.order.to_string(), words);
        }
        let drill = read(Action::RestoreDrill, r#"{"drill":"weekly","socket":"/x"}"#);
        assert!(drill.is_ok_and(|requested| requested.order == Order::Drill { name: "weekly".into() }));
    }

    #[test]
    fn what_does_not_fit_names_the_input() {
        for (action, json, name) in [
            (Action::Deploy, r#"{"socket":"/x"}"#, "service"),
            (Action::Deploy, r#"{"service":"a/b","socket":"/x"}"#, "service"),
            (
                Action::Deploy,
                r#"{"service":"a","no-canary":"1","socket":"/x"}"#,
                "no-canary",
            ),
            (
                Action::Deploy,
                r#"{"service":"a","url":"javascript:x","socket":"/x"}"#,
                "url",
            ),
            (
                Action::Deploy,
                r#"{"service":"a b","image":"i","socket":"/x"}"#,
                "image",
            ),
            (
                Action::Deploy,
                r#"{"service":"a=j","image":"i","socket":"/x"}"#,
                "image",
            ),
            (Action::Deploy, r#"{"service":"a= b","socket":"/x"}"#, "service"),
            (Action::Deploy, r#"{"service":"a","project":"../x"}"#, "project"),
            (
                Action::Deploy,
                r#"{"service":"a","github-token":"t","socket":"/x"}"#,
                "GITHUB_SHA",
            ),
            (Action::Backup, r#"{"service":"a"}"#, "service"),
            (Action::Backup, r#"{"set":""}"#, "set"),
        ] {
            let error = read(action, json).err().expect(json).to_string();
            assert!(error.contains(name), "{json}: {error}");
        }
    }

    #[test]
    fn the_only_agent_needs_no_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let inputs = Inputs::parse("{}", &[]).expect("inputs");
        let none = socket(&inputs, &folder.path().join("missing")).expect_err("none");
        assert!(none.to_string().contains("no agent's socket"), "{none}");
        fs::write(folder.path().join("ark.sock"), "").expect("written");
        fs::write(folder.path().join("note.txt"), "").expect("written");
        assert_eq!(
            socket(&inputs, folder.path()).expect("one"),
            folder.path().join("ark.sock")
        );
        fs::write(folder.path().join("flood.sock"), "").expect("written");
        let two = socket(&inputs, folder.path()).expect_err("two");
        assert!(two.to_string().contains("2 agents' sockets"), "{two}");
    }
}
