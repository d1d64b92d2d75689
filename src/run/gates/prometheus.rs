use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::config::Gate;
use crate::model::{Span, Timestamp};
use crate::ports::{Page, PageRequest};
use crate::release::Reading;

use super::words::line;
use super::{Answer, Looker, Scene, worst};

/// Values a range is asked for, at most; the server refuses more than 11,000.
const POINTS: u64 = 1_000;

pub(super) struct Asked<'a> {
    pub url: &'a str,
    pub query: &'a str,
    pub range: Option<Span>,
}

/// What the server's API wraps every answer in.
#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// One series: a value at one moment, or values at several. Histograms have neither.
#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    value: Option<Sample>,
    #[serde(default)]
    values: Vec<Sample>,
}

/// A moment, and the value as text, which holds `NaN` and `+Inf` too.
#[derive(Deserialize)]
struct Sample(#[expect(dead_code, reason = "the moment is not looked at")] f64, String);

impl Looker {
    pub(super) async fn of_prometheus(&self, gate: &Gate, asked: Asked<'_>, scene: &Scene) -> Answer {
        let query = filled(asked.query, scene);
        let address = address(&asked, &query, gate, self.clock.now())?;
        let request = PageRequest {
            url: address,
            headers: Vec::new(),
            limit: gate.timeout.std(),
        };
        let page = self.web.get(&request).await.map_err(|error| error.to_string())?;
        let readings = values(&page, asked.range.is_some())?.into_iter().map(|value| Reading {
            value,
            ..Reading::default()
        });
        worst(gate, readings).ok_or_else(|| "the query has no answer".to_owned())
    }
}

/// With `$service` and `$colour`, as whole words, replaced; neither can hold a quotation mark.
fn filled(query: &str, scene: &Scene) -> String {
    let mut filled = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest[1..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .map_or(rest.len(), |end| end + 1);
        filled.push_str(match &rest[..end] {
            "$service" => scene.service.as_str(),
            "$colour" => scene.colour.as_str(),
            other => other,
        });
        rest = &rest[end..];
    }
    filled + rest
}

/// The query's address below the server's own, whose path, login and parameters stay.
fn address(asked: &Asked<'_>, query: &str, gate: &Gate, now: Timestamp) -> Result<String, String> {
    let wrong = || "the gate's `url` is no web address; write http://host:9090".to_owned();
    let mut url = Url::parse(asked.url).map_err(|_| wrong())?;
    let last = match asked.range {
        Some(_) => "query_range",
        None => "query",
    };
    url.path_segments_mut()
        .map_err(|()| wrong())?
        .pop_if_empty()
        .extend(["api", "v1", last]);
    url.set_fragment(None);
    let mut pairs = url.query_pairs_mut();
    pairs.append_pair("query", query);
    pairs.append_pair("timeout", &format!("{}ms", gate.timeout.std().as_millis().max(1)));
    if let Some(range) = asked.range {
        let step = gate
            .every
            .std()
            .max(range.std() / POINTS as u32)
            .max(Span::millis(1).std());
        pairs.append_pair("start", &seconds(now - range.chrono()));
        pairs.append_pair("end", &seconds(now));
        pairs.append_pair("step", &format!("{:.3}", step.as_secs_f64()));
    }
    drop(pairs);
    Ok(url.into())
}

fn seconds(at: Timestamp) -> String {
    format!("{:.3}", at.timestamp_millis() as f64 / 1e3)
}

/// The values of the one series there has to be; `ranged` where it was asked for values at several moments.
fn values(page: &Page, ranged: bool) -> Result<Vec<f64>, String> {
    let envelope = match (serde_json::from_slice::<Envelope>(&page.body), page.status) {
        (Ok(envelope), _) => envelope,
        (Err(_), 200) => return Err("what answered is no Prometheus: its answer was not understood".into()),
        (Err(_), status) => return Err(format!("the server answered {status}")),
    };
    if page.status != 200 || envelope.status != "success" {
        let why = envelope.error.map(|why| line(&why)).filter(|why| !why.is_empty());
        return Err(match why {
            Some(why) => format!("the server answered {}: {why}", page.status),
            None => format!("the server answered {} without a reason", page.status),
        });
    }
    if let Some(warning) = envelope.warnings.first() {
        return Err(format!("the answer may be incomplete: {}", line(warning)));
    }
    let data = envelope.data.ok_or("the answer has no data")?;
    let strange = |_| "the answer was not understood".to_owned();
    let samples = match data.result_type.as_str() {
        "scalar" if !ranged => vec![serde_json::from_value::<Sample>(data.result).map_err(strange)?],
        kind @ ("vector" | "matrix") if ranged == (kind == "matrix") => {
            let mut all: Vec<Series> = serde_json::from_value(data.result).map_err(strange)?;
            let (Some(series), 0) = (all.pop(), all.len()) else {
                return Err(match all.len() {
                    0 => "the query has no answer".into(),
                    more => format!(
                        "the query has {} answers, and one is wanted; aggregate it, as by sum(…)",
                        more + 1
                    ),
                });
            };
            match (kind, series.value) {
                ("vector", Some(sample)) => vec![sample],
                ("matrix", None) if !series.values.is_empty() => series.values,
                _ => return Err("the answer is a histogram; ask for one number, as by histogram_quantile(…)".into()),
            }
        }
        other => return Err(format!("the answer is a {}, and a number is wanted", line(other))),
    };
    samples.iter().map(|Sample(_, text)| finite(text)).collect()
}

fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(format!("the query's value is {}", line(text))),
        Err(_) => Err("the answer was not understood".into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::GateSource;
    use crate::model::Colour;

    fn gate() -> Gate {
        serde_json::from_value(serde_json::json!({
            "name": "logins", "source": "prometheus", "url": "http://h", "query": "q", "range": null,
            "max": 5, "min": null, "max_ratio": null, "abort_over": null, "abort_under": null,
            "min_requests": 0, "every": "5s", "window": "1m", "failures": 1, "timeout": "5s",
        }))
        .expect("a gate")
    }

    fn scene() -> Scene {
        Scene {
            project: "ark".parse().expect("a name"),
            service: "line-service".parse().expect("a name"),
            colour: Colour::Green,
            began: Vec::new(),
        }
    }

    #[test]
    fn names_are_filled_in_as_whole_words() {
        let query = r#"x{service="$service",colour=~"$colour"} / $services $1 $"#;
        let expected = r#"x{service="line-service",colour=~"green"} / $services $1 $"#;
        assert_eq!(filled(query, &scene()), expected);
    }

    #[test]
    fn the_servers_own_path_and_login_stay() {
        let asked = |url, range| {
            let asked = Asked { url, query: "", range };
            address(
                &asked,
                "sum(a+b) & 1",
                &gate(),
                Timestamp::UNIX_EPOCH + chrono::TimeDelta::seconds(100),
            )
        };
        assert_eq!(
            asked("http://u:p@h:9090/prom/?tenant=1#x", None).as_deref(),
            Ok("http://u:p@h:9090/prom/api/v1/query?tenant=1&query=sum%28a%2Bb%29+%26+1&timeout=5000ms")
        );
        assert_eq!(
            asked("https://h", Some(Span::seconds(60))).as_deref(),
            Ok(
                "https://h/api/v1/query_range?query=sum%28a%2Bb%29+%26+1&timeout=5000ms&start=40.000&end=100.000&step=5.000"
            )
        );
        assert!(
            asked("http://h", Some(Span::seconds(100_000)))
                .expect("one")
                .ends_with("&step=100.000")
        );
        assert!(asked("http://user:hunter2@[", None).is_err_and(|why| !why.contains("hunter2")));
        assert!(matches!(gate().source, GateSource::Prometheus { .. }));
    }

    fn page(status: u16, body: &str) -> Result<Vec<f64>, String> {
        let page = Page {
            status,
            body: body.to_owned().into(),
        };
        values(&page, body.contains("\"matrix\""))
    }

    #[test]
    fn values_of_several_moments_are_told_only_where_they_were_asked_for() {
        let body = |kind: &str, result: &str| Page {
            status: 200,
            body: format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#).into(),
        };
        let matrix = body("matrix", r#"[{"values":[[1,"2"]]}]"#);
        assert!(values(&matrix, false).is_err_and(|why| why.contains("is a matrix")));
        let vector = body("vector", r#"[{"value":[1,"2"]}]"#);
        assert!(values(&vector, true).is_err_and(|why| why.contains("is a vector")));
    }

    #[test]
    fn one_finite_number_is_a_value() {
        let success = |kind: &str, result: &str| {
            page(
                200,
                &format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#),
            )
        };
        assert_eq!(success("scalar", r#"[1.5,"0.25"]"#), Ok(vec![0.25]));
        assert_eq!(success("vector", r#"[{"metric":{},"value":[1,"2"]}]"#), Ok(vec![2.0]));
        assert_eq!(
            success("matrix", r#"[{"metric":{},"values":[[1,"2"],[2,"3"]]}]"#),
            Ok(vec![2.0, 3.0])
        );
        for (kind, result, why) in [
            ("scalar", r#"[1,"NaN"]"#, "the query's value is NaN"),
            ("vector", r#"[{"value":[1,"+Inf"]}]"#, "the query's value is +Inf"),
            (
                "matrix",
                r#"[{"values":[[1,"2"],[2,"-Inf"]]}]"#,
                "the query's value is -Inf",
            ),
            ("vector", "[]", "no answer"),
            (
                "vector",
                r#"[{"value":[1,"1"]},{"value":[1,"1"]},{"value":[1,"1"]}]"#,
                "has 3 answers",
            ),
            ("vector", r#"[{"histogram":[1,{}]}]"#, "histogram"),
            ("vector", r#"[{"values":[[1,"1"]]}]"#, "histogram"),
            ("matrix", r#"[{"values":[]}]"#, "histogram"),
            ("string", r#"[1,"x"]"#, "is a string"),
            ("scalar", r#"[1,2]"#, "not understood"),
            ("scalar", r#"[1,"1e"]"#, "not understood"),
            ("vector", r#"{"value":[1,"1"]}"#, "not understood"),
            ("vector", r#"[5]"#, "not understood"),
        ] {
            let refused = success(kind, result).expect_err(result);
            assert!(refused.contains(why), "{result}: {refused}");
        }
    }

    #[test]
    fn whatever_else_is_answered_is_no_value() {
        for (status, body, why) in [
            (200, "", "no Prometheus"),
            (200, "<html>", "no Prometheus"),
            (200, "{}", "no Prometheus"),
            (200, r#"{"status":"success"}"#, "no data"),
            (200, r#"{"status":"error","error":"bad\nline"}"#, "answered 200: bad"),
            (
                400,
                r#"{"status":"error","error":"parse error"}"#,
                "answered 400: parse error",
            ),
            (401, "Unauthorized", "answered 401"),
            (
                503,
                r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#,
                "answered 503",
            ),
            (
                200,
                r#"{"status":"success","warnings":["store is down"],"data":{"resultType":"scalar","result":[1,"1"]}}"#,
                "store is down",
            ),
        ] {
            let refused = page(status, body).expect_err(body);
            assert!(refused.contains(why), "{body}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic_or_a_number_that_is_none(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let read = values(&Page { status: 200, body: body.into() }, false);
            prop_assert!(read.is_err());
        }

        #[test]
        fn no_query_makes_it_panic(query in ".{0,40}") {
            let filled = filled(&query, &scene());
            prop_assert!(query.contains('$') || filled == query);
        }
    }
}
