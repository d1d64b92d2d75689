use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use arkwright::model::ContainerId;
use arkwright::plan::{ContainerSpec, NetworkAttachment};
use arkwright::ports::{Engine, EngineError};
use arkwright::stack::Port;

use crate::bench::{Bench, until};

/// Answers every connection on 7001 with `tcp`, every datagram on 7002 with `udp`.
const ANSWERS: &str = "perl -MIO::Socket -e 'my $s = IO::Socket::INET->new(LocalPort=>7001, Listen=>9, ReuseAddr=>1) or die; \
    while (my $c = $s->accept) { print $c \"tcp\"; close $c }' & \
    perl -MIO::Socket -e 'my $u = IO::Socket::INET->new(LocalPort=>7002, Proto=>\"udp\") or die; \
    while ($u->recv(my $x, 99)) { $u->send(\"udp\") }' & wait";

fn port(host_ip: &str, published: &str, target: u16, protocol: &str) -> Port {
    Port {
        host_ip: host_ip.into(),
        published: published.into(),
        target,
        protocol: protocol.into(),
    }
}

fn answering(bench: &Bench, network: &str, what: &str, ports: Vec<Port>) -> ContainerSpec {
    ContainerSpec {
        ports,
        networks: vec![NetworkAttachment {
            network: network.into(),
            aliases: vec![what.into()],
            ..NetworkAttachment::default()
        }],
        stop_signal: Some("SIGKILL".into()),
        ..bench.spec(what, &["sh", "-c", ANSWERS])
    }
}

/// The first of so many ports in a row that nobody has: below those that the kernel gives to connections, and never the
/// same ones twice, since other cases look for theirs at the same time.
pub fn free(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const PORTS: std::ops::Range<u16> = 19_500..28_000;
    let begin = (std::process::id() * 97 % u32::from(PORTS.end - PORTS.start)) as u16;
    for _ in PORTS {
        let offset = (u32::from(begin) + u32::from(NEXT.fetch_add(count, Ordering::Relaxed)))
            % u32::from(PORTS.end - PORTS.start - count);
        let first = PORTS.start + offset as u16;
        let unused = |port| TcpListener::bind(("0.0.0.0", port)).is_ok() && UdpSocket::bind(("0.0.0.0", port)).is_ok();
        if (first..first + count).all(unused) {
            return first;
        }
    }
    panic!("no {count} ports in a row are free");
}

fn connects(to: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(2)) else {
        return false;
    };
    let mut text = String::new();
    let read = stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .and_then(|()| stream.read_to_string(&mut text));
    read.is_ok() && text == "tcp"
}

pub async fn a_published_port_is_reached_over_tcp_and_udp(bench: &Bench) {
    let network = bench.network("ports").await;
    let number = free(1);
    let ports = vec![
        port("127.0.0.1", &number.to_string(), 7001, "tcp"),
        port("127.0.0.1", &number.to_string(), 7002, "udp"),
    ];
    let id = bench.run(&answering(bench, &network, "both", ports)).await;
    let at = SocketAddr::from(([127, 0, 0, 1], number));
    until("tcp answers", || async { connects(at) }).await;
    until("udp answers", || async {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("set");
        let mut answer = [0; 9];
        socket.send_to(b"?", at).is_ok() && socket.recv(&mut answer).is_ok_and(|n| &answer[..n] == b"udp")
    })
    .await;
    let told = bench.look(&id).await.ports;
    assert_eq!(
        told,
        [
            format!("127.0.0.1:{number}->7001/tcp"),
            format!("127.0.0.1:{number}->7002/udp")
        ]
    );

    // Free again as soon as the container is gone.
    bench.engine.remove_container(&id).await.expect("removed");
    assert!(!connects(at));
    TcpListener::bind(at).expect("free again");
}

pub async fn a_port_on_all_addresses_is_reached_on_each(bench: &Bench) {
    let network = bench.network("all").await;
    let number = free(1);
    bench
        .run(&answering(
            bench,
            &network,
            "all",
            vec![port("", &number.to_string(), 7001, "tcp")],
        ))
        .await;
    let loopback = SocketAddr::from(([127, 0, 0, 1], number));
    until("127.0.0.1", || async { connects(loopback) }).await;
    let own = UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()));
    if let Ok(own) = own {
        let own = SocketAddr::from((own.ip(), number));
        until(&format!("{own}"), || async { connects(own) }).await;
    }
}

/// Docker's own proxy answers there; Podman forwards between equal families only, so there it must not claim to.
pub async fn a_port_on_the_loopback_of_version_six_answers_or_is_a_refusal(bench: &Bench) {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        crate::common::not_run("the loopback address ::1 is not on this host");
        return;
    }
    let network = bench.network("six").await;
    let number = free(1);
    let spec = answering(
        bench,
        &network,
        "six",
        vec![port("::1", &number.to_string(), 7001, "tcp")],
    );
    let at = SocketAddr::from((Ipv6Addr::LOCALHOST, number));
    let started = match bench.engine.create_container(&spec).await {
        Ok(id) => bench.engine.start_container(&id).await,
        Err(error) => Err(error),
    };
    match started {
        Ok(()) => until("::1 answers", || async { connects(at) }).await,
        Err(error) => assert!(bench.podman() && error.to_string().contains("::1"), "{error}"),
    }
}

/// As replicas of one service share it. Of ports that a process of the host holds no engine knows.
pub async fn of_a_range_of_ports_each_container_takes_one_that_no_other_has(bench: &Bench) {
    let network = bench.network("range").await;
    let first = free(3);
    let range = format!("{first}-{}", first + 2);
    let mut seen = BTreeSet::new();
    for what in ["one", "two", "three"] {
        let id = bench
            .run(&answering(
                bench,
                &network,
                what,
                vec![port("127.0.0.1", &range, 7001, "tcp")],
            ))
            .await;
        seen.insert(answers_on(bench, &id).await);
    }
    assert_eq!(seen, (first..first + 3).collect());
    let fourth = answering(bench, &network, "four", vec![port("127.0.0.1", &range, 7001, "tcp")]);
    let result = match bench.engine.create_container(&fourth).await {
        Ok(id) => bench.engine.start_container(&id).await,
        Err(error) => Err(error),
    };
    let error = result.expect_err("all three are taken");
    assert!(matches!(error, EngineError::PortTaken { .. }), "{error:?}");
}

pub async fn replicas_get_ports_of_their_own_where_none_is_named(bench: &Bench) {
    let network = bench.network("own").await;
    let mut seen = BTreeSet::new();
    for what in ["one", "two", "three"] {
        let id = bench
            .run(&answering(
                bench,
                &network,
                what,
                vec![port("127.0.0.1", "", 7001, "tcp")],
            ))
            .await;
        seen.insert(answers_on(bench, &id).await);
    }
    assert_eq!(seen.len(), 3);
}

/// The loopback port a container says it has, once it answers there.
async fn answers_on(bench: &Bench, id: &ContainerId) -> u16 {
    let told = bench.look(id).await.ports;
    let number = |text: &String| {
        text.strip_prefix("127.0.0.1:")?
            .strip_suffix("->7001/tcp")?
            .parse()
            .ok()
    };
    let number = told.first().and_then(number).unwrap_or_else(|| panic!("{told:?}"));
    until("it answers", || async {
        connects(SocketAddr::from(([127, 0, 0, 1], number)))
    })
    .await;
    number
}

pub async fn a_container_writes_to_the_host_through_its_gateway(bench: &Bench) {
    let network = bench.network("out").await;
    let gateway = bench
        .engine
        .network(&network)
        .await
        .expect("an answer")
        .and_then(|n| n.gateway)
        .expect("a gateway");
    let id = bench.run(&answering(bench, &network, "out", Vec::new())).await;
    // The bridge is there once a container is on it.
    let listener = TcpListener::bind((gateway, 0)).expect("the gateway is an address of this host");
    let number = listener.local_addr().expect("an address").port();
    let accepted = std::thread::spawn(move || {
        let (mut stream, from) = listener.accept().expect("a connection");
        stream.write_all(b"hello\n").expect("written");
        from.ip()
    });
    let line = format!("exec 3<>/dev/tcp/{gateway}/{number}; read word <&3; echo $word");
    let command = ["bash".to_owned(), "-c".to_owned(), line];
    let output = bench
        .engine
        .exec(&id, &command, Duration::from_secs(20))
        .await
        .expect("run");
    assert_eq!(output.stdout, b"hello\n", "{}", String::from_utf8_lossy(&output.stderr));
    let from = accepted.join().expect("accepted");
    assert_eq!(Some(from), bench.look(&id).await.networks[&network].ip);
}
