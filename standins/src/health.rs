//! `PROGRAM health URL`: one HTTP GET for the healthcheck of an image that holds nothing but the program.

use std::process::ExitCode;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;

use crate::http;

const PATIENCE: Duration = Duration::from_secs(5);

/// The URL to ask, when the command line is a health check.
///
/// `health URL` is ours; `--spider -q URL` are the flags of wget, so that one healthcheck line of a Compose file fits
/// an image with wget and ours alike.
pub fn asked(arguments: &[String]) -> Option<&str> {
    match arguments {
        [verb, .., url] if verb == "health" || verb == "--spider" => Some(url),
        _ => None,
    }
}

/// Exit code 0 when `url` answers 2xx within five seconds. A path is asked of the colour a release has just made.
pub async fn check(url: &str) -> ExitCode {
    let colour = std::env::var("ARKWRIGHT_COLOUR_URL").unwrap_or_default();
    let url = &match url.starts_with('/') {
        true => format!("{colour}{url}"),
        false => url.to_owned(),
    };
    let answer = match Request::get(url).body(Full::default()) {
        Ok(request) => http::send(request, PATIENCE).await,
        Err(error) => Err(format!("not a URL: {error}")),
    };
    match answer {
        Ok((status, _)) if (200..300).contains(&status) => return ExitCode::SUCCESS,
        Ok((status, _)) => eprintln!("{url} answered {status}"),
        Err(why) => eprintln!("{url}: {why}"),
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_command_lines_are_health_checks() {
        let line =
            |words: &[&str]| asked(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).map(str::to_owned);
        assert_eq!(line(&["health", "http://x/"]).as_deref(), Some("http://x/"));
        assert_eq!(line(&["--spider", "-q", "http://x/"]).as_deref(), Some("http://x/"));
        assert_eq!(line(&["health"]), None);
        assert_eq!(line(&[]), None);
        assert_eq!(line(&["serve", "http://x/"]), None);
    }
}
