/// Characters of one fact.
const LONGEST: usize = 300;

/// What the runner's environment says of the workflow run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// `owner/name`.
    pub repository: Option<String>,
    pub sha: Option<String>,
    pub api_url: Option<String>,
    server_url: Option<String>,
    run_id: Option<String>,
    attempt: Option<String>,
    job: Option<String>,
    actor: Option<String>,
}

impl Context {
    /// `get` reads the environment.
    pub fn new(get: impl Fn(&str) -> Option<String>) -> Self {
        let fact = |name: &str| {
            let text: String = get(name)?.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
            Some(text).filter(|text| !text.is_empty())
        };
        Context {
            repository: fact("GITHUB_REPOSITORY").filter(|name| is_repository(name)),
            sha: fact("GITHUB_SHA"),
            api_url: fact("GITHUB_API_URL"),
            server_url: fact("GITHUB_SERVER_URL"),
            run_id: fact("GITHUB_RUN_ID").filter(|id| id.bytes().all(|b| b.is_ascii_digit())),
            attempt: fact("GITHUB_RUN_ATTEMPT"),
            job: fact("GITHUB_JOB"),
            actor: fact("GITHUB_ACTOR"),
        }
    }

    /// For the host's records.
    pub fn by(&self, action: &str) -> String {
        let Some(run) = &self.run_id else {
            return format!("action {action}");
        };
        let known = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "?".into());
        format!(
            "{} run {run} attempt {} job {} of {}",
            known(&self.repository),
            known(&self.attempt),
            known(&self.job),
            known(&self.actor)
        )
    }

    /// The same for every attempt of this job in this run.
    pub fn key(&self) -> Option<String> {
        Some(format!(
            "github/{}/run/{}/job/{}",
            self.repository.as_deref()?,
            self.run_id.as_deref()?,
            self.job.as_deref()?
        ))
    }

    /// Where a person reads the log of the run.
    pub fn run_url(&self) -> Option<String> {
        Some(format!(
            "{}/{}/actions/runs/{}",
            self.server_url.as_deref()?.trim_end_matches('/'),
            self.repository.as_deref()?,
            self.run_id.as_deref()?
        ))
    }
}

fn is_repository(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    name.split_once('/')
        .is_some_and(|(owner, name)| part(owner) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(run: &str) -> Context {
        Context::new(|name| {
            let value = match name {
                "GITHUB_REPOSITORY" => "church/ark",
                "GITHUB_SERVER_URL" => "https://github.example/",
                "GITHUB_RUN_ID" => run,
                "GITHUB_RUN_ATTEMPT" => "2",
                "GITHUB_JOB" => "release",
                "GITHUB_ACTOR" => "someone\n::error::x",
                _ => return None,
            };
            Some(value.to_owned())
        })
    }

    #[test]
    fn the_run_is_named_the_same_on_every_attempt() {
        let context = context("77");
        assert_eq!(context.key().as_deref(), Some("github/church/ark/run/77/job/release"));
        assert_eq!(
            context.run_url().as_deref(),
            Some("https://github.example/church/ark/actions/runs/77")
        );
        assert_eq!(
            context.by("deploy"),
            "church/ark run 77 attempt 2 job release of someone::error::x"
        );
    }

    #[test]
    fn what_is_not_of_its_shape_is_not_known() {
        let context = context("77/../..");
        assert_eq!((context.key(), context.run_url()), (None, None));
        assert_eq!(context.by("deploy"), "action deploy");
        for bad in ["church", "church/", "/ark", "a/b/c", "a/..", "a b/c", "a/b?x"] {
            assert!(!is_repository(bad), "{bad}");
        }
    }
}
