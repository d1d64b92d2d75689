use std::time::Duration;

use arkwright::model::ContainerId;

use crate::stage::{Stage, closing, good, refusal, restored};

const IMAGE: &str = "localhost/hwayo/rabbitmq:3.10";

async fn server(stage: &Stage, service: &str) -> ContainerId {
    let mut spec = stage.spec(service, IMAGE);
    spec.hostname = Some("queue".into());
    let id = stage.start(&spec).await;
    stage.until(&id, "rabbitmqctl --quiet await_startup --timeout 5").await;
    id
}

pub async fn definitions_are_kept_and_taken_by_another_server(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    let world = stage.world(r#"[{ "rabbitmq": "queue" }]"#);
    let id = server(stage, "queue").await;
    stage
        .sh(
            &id,
            "rabbitmqctl --quiet add_user clerk unseen && rabbitmqctl --quiet add_vhost shop && \
             rabbitmqctl --quiet set_permissions -p shop clerk '^a' '.*' '.*' && \
             rabbitmqctl --quiet set_policy -p shop keep '^orders' '{\"max-length\":7}' && \
             rabbitmqctl --quiet eval 'rabbit_amqqueue:declare(rabbit_misc:r(<<\"shop\">>, queue, <<\"orders\">>), true, false, [], none, <<\"clerk\">>), ok.'",
        )
        .await;
    // Users come and go meanwhile.
    stage
        .sh(&id, "nohup sh -c 'n=0; while :; do n=$((n+1)); rabbitmqctl --quiet add_user user$n x; done' >/dev/null 2>&1 & echo $! >/tmp/w")
        .await;
    let receipt = world.backup().await;
    stage.sh(&id, "kill $(cat /tmp/w)").await;
    good(&receipt);
    let closing = closing(&world).await;
    assert!(
        closing
            .notes
            .iter()
            .any(|note| note.contains("messages in queues are not in it")),
        "{:?}",
        closing.notes
    );
    let file = restored(&world, "out")
        .await
        .join("@services/queue/rabbitmq/definitions.json");
    // By hand, into a server that knows nothing of it.
    let other = server(stage, "other").await;
    stage.by_hand(
        &other,
        &[
            "sh",
            "-c",
            "cat >/tmp/d.json && rabbitmqctl --quiet import_definitions /tmp/d.json",
        ],
        &file,
    );
    for list in [
        "list_vhosts",
        "list_permissions -p shop",
        "list_policies -p shop",
        "list_queues -p shop name durable",
        "list_exchanges -p shop",
    ] {
        let line = format!("rabbitmqctl --quiet {list} | sort");
        assert_eq!(stage.sh(&id, &line).await, stage.sh(&other, &line).await, "{list}");
    }
    stage
        .sh(&other, "rabbitmqctl --quiet authenticate_user clerk unseen")
        .await;
    // A server that is down is not an empty set of definitions.
    stage.sh(&id, "rabbitmqctl --quiet stop_app").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let world = stage.world(r#"[{ "rabbitmq": "queue" }]"#);
    let told = refusal(&world, &world.backup().await);
    assert!(told.contains("service queue"), "{told}");
}
