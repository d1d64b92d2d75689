use std::collections::HashMap;
use std::net::IpAddr;

use crate::model::Span;
use crate::ports::RouterError;

/// One server's line of `show stat`, fields by name.
#[derive(Debug, PartialEq)]
pub struct Stat(HashMap<String, String>);

/// One server's line of `show servers state`.
#[derive(Debug, PartialEq)]
pub struct State {
    pub server: String,
    pub address: IpAddr,
    /// By the router's checks.
    pub running: bool,
    pub drain: bool,
    pub weight: u8,
}

fn garbled(command: &str, answer: &str) -> RouterError {
    RouterError::Garbled {
        command: command.to_owned(),
        answer: answer.chars().take(200).collect(),
    }
}

/// The answers to commands that were joined with `;`: each ends with an empty line.
pub fn apart<'a>(command: &str, answer: &'a str, count: usize) -> Result<Vec<&'a str>, RouterError> {
    let parts: Vec<&str> = answer.trim_end_matches('\n').split("\n\n").collect();
    if parts.len() == count {
        Ok(parts)
    } else {
        Err(garbled(command, answer))
    }
}

/// The answer to commands that change something: silence, or the report of a changed address.
pub fn changed(command: &str, answer: &str) -> Result<(), RouterError> {
    let report = |line: &str| {
        line.is_empty()
            || line.starts_with("IP changed from")
            || line.starts_with("port changed from")
            || line.starts_with("no need to change the addr")
            || line.starts_with("nothing changed")
    };
    match answer.lines().find(|line| !report(line.trim())) {
        None => Ok(()),
        Some(line) => Err(RouterError::Refused {
            command: command.to_owned(),
            answer: line.chars().take(200).collect(),
        }),
    }
}

pub fn stats(command: &str, answer: &str) -> Result<Vec<Stat>, RouterError> {
    let unclear = || garbled(command, answer);
    let mut records = records(answer.trim_start_matches("# ").trim_end()).into_iter();
    let names = records
        .next()
        .filter(|names| names.iter().any(|n| n == "svname"))
        .ok_or_else(unclear)?;
    records
        .map(|fields| {
            if fields.len() == names.len() {
                Ok(Stat(names.iter().cloned().zip(fields).collect()))
            } else {
                Err(unclear())
            }
        })
        .collect()
}

impl Stat {
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// An empty field counts as nought: counters that do not apply are left empty.
    pub fn number(&self, name: &str) -> Result<u64, RouterError> {
        match self.text(name) {
            "" => Ok(0),
            text => text
                .parse()
                .map_err(|_| garbled("show stat", &format!("{name}={text}"))),
        }
    }

    /// `L7OK/200 in 2 ms`
    pub fn check(&self) -> String {
        let status = self.text("check_status").trim_start_matches("* ");
        let mut text = status.to_owned();
        if !self.text("check_code").is_empty() {
            text += &format!("/{}", self.text("check_code"));
        }
        if !self.text("check_duration").is_empty() {
            text += &format!(" in {} ms", self.text("check_duration"));
        }
        if !status.starts_with("L7OK") && !self.text("last_chk").is_empty() {
            text += &format!(" ({})", self.text("last_chk"));
        }
        text.chars().filter(|c| !c.is_control()).take(200).collect()
    }

    /// Whether the newest check was a good answer; right after a slot was put into service none has been made.
    pub fn passed(&self) -> bool {
        self.text("check_status").trim_start_matches("* ").starts_with("L7OK")
    }
}

pub fn states(command: &str, answer: &str) -> Result<Vec<State>, RouterError> {
    let unclear = || garbled(command, answer);
    let mut lines = answer.lines();
    if lines.next() != Some("1") {
        return Err(unclear());
    }
    let names: Vec<&str> = lines
        .next()
        .and_then(|line| line.strip_prefix("# "))
        .ok_or_else(unclear)?
        .split(' ')
        .collect();
    lines
        .map(|line| {
            let fields: HashMap<&str, &str> = names.iter().copied().zip(line.split(' ')).collect();
            let field = |name| fields.get(name).copied().ok_or_else(unclear);
            let number = |name| field(name)?.parse::<u32>().map_err(|_| unclear());
            Ok(State {
                server: field("srv_name")?.to_owned(),
                address: field("srv_addr")?.parse().map_err(|_| unclear())?,
                running: number("srv_op_state")? == 2,
                drain: number("srv_admin_state")? & 0x08 != 0,
                weight: number("srv_uweight")?.try_into().map_err(|_| unclear())?,
            })
        })
        .collect()
}

/// `closed 3 120`: whether the gate is closed, how many wait, the longest wait in milliseconds.
pub fn gate(command: &str, answer: &str) -> Result<(bool, u64, Span), RouterError> {
    let words: Vec<&str> = answer.split_whitespace().collect();
    match words[..] {
        [word @ ("open" | "closed"), waiting, longest] => {
            let number = |text: &str| text.parse().map_err(|_| garbled(command, answer));
            Ok((word == "closed", number(waiting)?, Span::millis(number(longest)?)))
        }
        _ => Err(garbled(command, answer)),
    }
}

/// `closed 1795220157000`: when it counts as open again.
pub fn gate_ends(command: &str, answer: &str) -> Result<u64, RouterError> {
    answer
        .trim()
        .strip_prefix("closed ")
        .and_then(|ends| ends.parse().ok())
        .ok_or_else(|| garbled(command, answer))
}

pub fn gate_opened(command: &str, answer: &str) -> Result<(), RouterError> {
    match answer.trim() {
        "open" => Ok(()),
        _ => Err(garbled(command, answer)),
    }
}

/// How often the master has loaded its configuration again, and how often it could not.
pub fn reloads(command: &str, answer: &str) -> Result<(u64, u64), RouterError> {
    let unclear = || garbled(command, answer);
    let line = answer
        .lines()
        .find(|line| line.split_whitespace().nth(1) == Some("master"))
        .ok_or_else(unclear)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |text: Option<&&str>| {
        text.and_then(|t| t.trim_end_matches(']').parse().ok())
            .ok_or_else(unclear)
    };
    let failed = words.iter().position(|w| *w == "[failed:").ok_or_else(unclear)?;
    Ok((number(words.get(2))?, number(words.get(failed + 1))?))
}

/// The process that serves, in `show proc`.
pub fn worker(answer: &str) -> Option<u64> {
    listed(answer, "# workers").next()
}

/// The processes that a reload left to finish what they have, in `show proc`.
pub fn elders(answer: &str) -> Vec<u64> {
    listed(answer, "# old workers").collect()
}

fn listed<'a>(answer: &'a str, heading: &'a str) -> impl Iterator<Item = u64> {
    let lines = answer
        .lines()
        .skip_while(move |line| !line.starts_with(heading))
        .skip(1);
    lines
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
}

/// `Pid: 3491` of `show info`.
pub fn pid(command: &str, answer: &str) -> Result<u64, RouterError> {
    answer
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .and_then(|pid| pid.trim().parse().ok())
        .ok_or_else(|| garbled(command, answer))
}

/// One line of `show sess`.
#[derive(Debug, PartialEq)]
pub struct Session<'a> {
    /// `0x55d3c5b0a2c0`, and nothing else: it becomes part of a command.
    pub id: &'a str,
    pub backend: &'a str,
    pub server: &'a str,
}

pub fn sessions<'a>(command: &str, answer: &'a str) -> Result<Vec<Session<'a>>, RouterError> {
    let unclear = || garbled(command, answer);
    let lines = answer.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (id, rest) = line.split_once(": ").ok_or_else(unclear)?;
            let digits = id.strip_prefix("0x").ok_or_else(unclear)?;
            if digits.is_empty() || digits.len() > 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(unclear());
            }
            let field = |name: &str| {
                rest.split(' ')
                    .find_map(|word| word.strip_prefix(name))
                    .ok_or_else(unclear)
            };
            Ok(Session {
                id,
                backend: field("be=")?,
                server: field("srv=")?,
            })
        })
        .collect()
}

/// How many of the sessions that were to be shut had ended by themselves.
pub fn ended(command: &str, answer: &str) -> Result<u64, RouterError> {
    let mut gone = 0;
    for line in answer.lines().filter(|line| !line.is_empty()) {
        if !line.starts_with("No such session") {
            return Err(RouterError::Refused {
                command: command.chars().take(200).collect(),
                answer: line.chars().take(200).collect(),
            });
        }
        gone += 1;
    }
    Ok(gone)
}

/// `CurrConns: 3` of `show info`.
pub fn connections(command: &str, answer: &str) -> Result<u64, RouterError> {
    let number = answer.lines().find_map(|line| line.strip_prefix("CurrConns: "));
    number
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| garbled(command, answer))
}

/// `description: arkwright:5e8f…` of `show info`; empty where there is none.
pub fn shape(answer: &str) -> &str {
    answer
        .lines()
        .find_map(|line| line.strip_prefix("description: arkwright:"))
        .map_or("", str::trim)
}

/// Comma-separated records; a field in double quotes may hold commas, line ends and doubled quotes.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let (mut record, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    if !record.is_empty() || !field.is_empty() {
        record.push(field);
        records.push(record);
    }
    records
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stat_line_is_read_by_its_names_and_quotes() {
        let answer = "# pxname,svname,scur,status,check_status,check_code,check_duration,last_chk,\n\
                      a,blue1,3,UP,* L7OK,200,2,\"fine, \"\"really\"\"\",\n\
                      a,green1,,DOWN,L7STS,503,1,bad,\n";
        let stats = stats("show stat", answer).expect("understood");
        assert_eq!(stats[0].number("scur").expect("a number"), 3);
        assert_eq!(stats[0].check(), "L7OK/200 in 2 ms");
        assert_eq!(stats[0].text("last_chk"), "fine, \"really\"");
        assert!(stats[0].passed());
        assert_eq!(stats[1].number("scur").expect("none"), 0);
        assert_eq!(stats[1].check(), "L7STS/503 in 1 ms (bad)");
        assert!(!stats[1].passed());
    }

    #[test]
    fn what_is_not_an_answer_is_said_to_be_garbled() {
        assert!(matches!(
            stats("show stat", "No such proxy."),
            Err(RouterError::Garbled { .. })
        ));
        assert!(matches!(
            stats("show stat", "# svname,scur\na\n"),
            Err(RouterError::Garbled { .. })
        ));
        assert!(matches!(
            states("x", "2\n# srv_name\n"),
            Err(RouterError::Garbled { .. })
        ));
        assert!(matches!(
            gate("x", "not understood\n"),
            Err(RouterError::Garbled { .. })
        ));
        assert!(matches!(
            changed("x", "No such server.\n"),
            Err(RouterError::Refused { .. })
        ));
        assert!(changed("x", "\n\nIP changed from '1' to '2' by 'stats socket command'\n\n").is_ok());
    }

    #[test]
    fn a_master_says_how_often_it_loaded() {
        let answer =
            "#<PID> <type> <reloads> <uptime> <version>\n3488 master 2 [failed: 1] 0d00h00m05s 2.6.12\n# workers\n";
        assert_eq!(reloads("show proc", answer).expect("understood"), (2, 1));
        let after = format!(
            "{answer}3500 worker 0 0d00h00m00s 2.6.12\n# old workers\n3491 worker 1 0d00h00m05s 2.6.12\n3480 worker 2 0d00h00m09s 2.6.12\n# programs\n\n"
        );
        assert_eq!((elders(answer), elders(&after)), (vec![], vec![3491, 3480]));
        assert_eq!(worker(&after), Some(3500));
        assert_eq!(
            worker("#<PID> <type>\n1 master 3 [failed: 1]\n# workers\n# old workers\n7 worker 1\n"),
            None
        );
    }

    #[test]
    fn a_session_is_known_by_a_plain_number() {
        let line = "0x55d3c5b0a2c0: proto=tcpv4 src=127.0.0.1:5 fe=web:in be=web:upgraded srv=green1 ts=00 exp=1h\n\n";
        let found = sessions("show sess", line).expect("understood");
        assert_eq!(
            (found[0].id, found[0].backend, found[0].server),
            ("0x55d3c5b0a2c0", "web:upgraded", "green1")
        );
        for hostile in [
            "0x1;shutdown sessions server a/b: be=a srv=b",
            "0x: be=a srv=b",
            "0x1: be=a",
            "x",
        ] {
            assert!(sessions("show sess", hostile).is_err(), "{hostile}");
        }
        assert_eq!(
            ended("x", "\n\nNo such session (use 'show sess').\n\n").expect("understood"),
            1
        );
        assert!(ended("x", "Permission denied\n").is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in "(?s).{0,300}") {
            let understood = [
                stats("x", &answer).is_ok(),
                states("x", &answer).is_ok(),
                gate("x", &answer).is_ok(),
                reloads("x", &answer).is_ok(),
                apart("x", &answer, 2).is_ok(),
                sessions("x", &answer).is_ok(),
                ended("x", &answer).is_ok(),
            ];
            prop_assert!(understood.len() == 7);
        }
    }
}
