use std::fs;
use std::io;

use crate::ports::Firewall;

use super::command::output;

/// ufw says in its file whether it is on; firewalld and the kernel are asked.
pub(super) async fn firewall() -> Firewall {
    match fs::read_to_string("/etc/ufw/ufw.conf") {
        Ok(text) if ufw_on(&text) => return Firewall::On("ufw".into()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Firewall::Unknown(format!("/etc/ufw/ufw.conf: {error}")),
    }
    let (firewalld, iptables, nft) = tokio::join!(
        output("firewall-cmd", &["--state"]),
        output("iptables", &["-w", "2", "-S", "INPUT"]),
        output("nft", &["list", "ruleset"]),
    );
    match firewalld {
        Ok(state) if state.trim() == "running" => Firewall::On("firewalld".into()),
        _ => judge(iptables, nft),
    }
}

/// One of both programs is enough to know of a firewall; that there is none has to be said by one that could look.
fn judge(iptables: io::Result<String>, nft: io::Result<String>) -> Firewall {
    if iptables.as_ref().is_ok_and(|rules| iptables_closed(rules)) {
        return Firewall::On("iptables".into());
    }
    if nft.as_ref().is_ok_and(|rules| nft_closed(rules)) {
        return Firewall::On("nftables".into());
    }
    match (iptables, nft) {
        (Ok(_), _) | (_, Ok(_)) => Firewall::Off,
        (Err(iptables), Err(nft)) => Firewall::Unknown(format!("iptables: {iptables}; nft: {nft}")),
    }
}

fn ufw_on(text: &str) -> bool {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("ENABLED="))
        .next_back()
        .is_some_and(|value| value.trim_matches(['"', '\'', ' ']).eq_ignore_ascii_case("yes"))
}

/// What arrives is dropped unless a rule lets it in, or by a last rule for everything.
fn iptables_closed(rules: &str) -> bool {
    let whole = ["-A INPUT -j DROP", "-A INPUT -j REJECT"];
    rules.lines().map(str::trim).any(|rule| {
        matches!(rule, "-P INPUT DROP" | "-P INPUT REJECT") || whole.iter().any(|start| rule.starts_with(start))
    })
}

fn nft_closed(rules: &str) -> bool {
    rules.lines().any(|line| {
        let hook = line.contains("hook input");
        hook && (line.contains("policy drop") || line.contains("policy reject"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent() -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    #[test]
    fn ufw_is_on_where_its_file_says_so() {
        assert!(ufw_on("# a comment\nENABLED=yes\nLOGLEVEL=low\n"));
        assert!(!ufw_on("ENABLED=no\n"));
        assert!(!ufw_on("#ENABLED=yes\n"));
    }

    #[test]
    fn a_chain_that_drops_what_it_does_not_know_is_a_firewall() {
        let on = |text: &str| judge(Ok(text.to_owned()), absent());
        assert_eq!(on("-P INPUT DROP\n"), Firewall::On("iptables".into()));
        let last = "-P INPUT ACCEPT\n-A INPUT -p tcp --dport 22 -j ACCEPT\n-A INPUT -j REJECT --reject-with x\n";
        assert_eq!(on(last), Firewall::On("iptables".into()));
        assert_eq!(on("-P INPUT ACCEPT\n-A INPUT -s 10.0.0.1/32 -j DROP\n"), Firewall::Off);
        let nft = "table inet filter {\n chain input {\n  type filter hook input priority 0; policy drop;\n }\n}\n";
        assert_eq!(
            judge(Ok("-P INPUT ACCEPT\n".into()), Ok(nft.into())),
            Firewall::On("nftables".into())
        );
        assert_eq!(judge(absent(), Ok(String::new())), Firewall::Off);
        assert!(matches!(judge(absent(), absent()), Firewall::Unknown(_)));
    }
}
