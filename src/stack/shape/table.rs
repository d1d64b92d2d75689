//! The keys of the Compose specification.

use super::Shape::{
    Bool, Either, Int, IntIn, List, Map, Named, Number, Object as Obj, OrNull, Scalar, ScalarOrNull, Set, Size,
    SizeText, Span, Text, TextOrBool, TextOrInt, TextOrNumber, Word,
};
use super::{Object, Shape};

const TEXTS: Shape = List(&Text);
const SET: Shape = Set(&Text);
const TEXT_OR_LIST: Shape = Either(&[Text, List(&Text)]);
/// `{KEY: value}` or `["KEY=value"]`.
const PAIRS: Shape = Either(&[Map(&ScalarOrNull), List(&Text)]);
const OPTIONS: Shape = Map(&TextOrNumber);
const COMMAND: Shape = OrNull(&Either(&[Text, List(&Text)]));
const EXTRA_HOSTS: Shape = Either(&[Map(&Either(&[Text, List(&Text)])), Set(&Text)]);

const fn object(what: &'static str, keys: &'static [(&'static str, Shape)]) -> Object {
    Object {
        what,
        keys,
        required: &[],
        extensions: true,
    }
}

pub(in crate::stack) const PROJECT: Shape = Obj(&Object {
    what: "Compose file",
    keys: &[
        ("version", Text),
        ("name", Text),
        ("include", List(&Either(&[Text, INCLUDE]))),
        ("services", Named(&SERVICE)),
        ("models", Named(&MODEL)),
        ("networks", Named(&OrNull(&NETWORK))),
        ("volumes", Named(&OrNull(&VOLUME))),
        ("secrets", Named(&SECRET)),
        ("configs", Named(&CONFIG)),
    ],
    required: &[],
    extensions: true,
});

const INCLUDE: Shape = Obj(&Object {
    what: "include entry",
    keys: &[
        ("path", TEXT_OR_LIST),
        ("env_file", TEXT_OR_LIST),
        ("project_directory", Text),
    ],
    required: &["path"],
    extensions: false,
});

pub(in crate::stack) const SERVICE: Shape = Obj(&object(
    "service",
    &[
        ("annotations", PAIRS),
        ("attach", Bool),
        ("blkio_config", BLKIO),
        ("build", Either(&[Text, BUILD])),
        ("cap_add", TEXTS),
        ("cap_drop", TEXTS),
        ("cgroup", Word(&["host", "private"])),
        ("cgroup_parent", Text),
        ("command", COMMAND),
        ("configs", GRANTS),
        ("container_name", Text),
        ("cpu_count", IntIn(0, i64::MAX as i128)),
        ("cpu_percent", IntIn(0, 100)),
        ("cpu_period", Number),
        ("cpu_quota", Number),
        ("cpu_rt_period", Int),
        ("cpu_rt_runtime", Int),
        ("cpu_shares", Number),
        ("cpus", Number),
        ("cpuset", Text),
        (
            "credential_spec",
            Obj(&object(
                "credential_spec",
                &[("config", Text), ("file", Text), ("registry", Text)],
            )),
        ),
        ("depends_on", Either(&[SET, Named(&DEPENDENCY)])),
        ("deploy", OrNull(&DEPLOY)),
        ("develop", OrNull(&DEVELOP)),
        ("device_cgroup_rules", SET),
        ("devices", List(&Either(&[Text, DEVICE]))),
        ("dns", TEXT_OR_LIST),
        ("dns_opt", TEXTS),
        ("dns_search", TEXT_OR_LIST),
        ("domainname", Text),
        ("entrypoint", COMMAND),
        ("env_file", Either(&[Text, List(&Either(&[Text, ENV_FILE]))])),
        ("environment", PAIRS),
        ("expose", List(&TextOrInt)),
        ("extends", Either(&[Text, EXTENDS])),
        ("external_links", SET),
        ("extra_hosts", EXTRA_HOSTS),
        ("gpus", Either(&[Word(&["all"]), List(&GPU)])),
        ("group_add", Set(&TextOrNumber)),
        ("healthcheck", HEALTHCHECK),
        ("hostname", Text),
        ("image", Text),
        ("init", Bool),
        ("ipc", Text),
        ("isolation", Text),
        ("label_file", TEXT_OR_LIST),
        ("labels", PAIRS),
        ("links", TEXTS),
        ("logging", LOGGING),
        ("mac_address", Text),
        ("mem_limit", Size),
        ("mem_reservation", Size),
        ("mem_swappiness", Number),
        ("memswap_limit", Size),
        ("models", Either(&[SET, Named(&OrNull(&MODEL_USE))])),
        ("network_mode", Text),
        ("networks", Either(&[SET, Named(&OrNull(&ATTACHMENT))])),
        ("oom_kill_disable", Bool),
        ("oom_score_adj", IntIn(-1000, 1000)),
        ("pid", OrNull(&Text)),
        ("pids_limit", Int),
        ("platform", Text),
        ("ports", List(&Either(&[TextOrNumber, PORT]))),
        ("post_start", List(&HOOK)),
        ("pre_stop", List(&HOOK)),
        ("privileged", Bool),
        ("profiles", TEXTS),
        (
            "provider",
            Obj(&Object {
                what: "provider",
                keys: &[("type", Text), ("options", Map(&Either(&[Scalar, List(&Scalar)])))],
                required: &["type"],
                extensions: true,
            }),
        ),
        ("pull_policy", Text),
        ("pull_refresh_after", Text),
        ("read_only", Bool),
        ("restart", Text),
        ("runtime", Text),
        ("scale", Int),
        ("secrets", GRANTS),
        ("security_opt", SET),
        ("shm_size", Size),
        ("stdin_open", Bool),
        ("stop_grace_period", Span),
        ("stop_signal", Text),
        ("storage_opt", OPTIONS),
        ("sysctls", PAIRS),
        ("tmpfs", TEXT_OR_LIST),
        ("tty", Bool),
        ("ulimits", ULIMITS),
        ("use_api_socket", Bool),
        ("user", Text),
        ("userns_mode", Text),
        ("uts", Text),
        ("volumes", List(&Either(&[Text, MOUNT]))),
        ("volumes_from", SET),
        ("working_dir", Text),
    ],
));

const BUILD: Shape = Obj(&object(
    "build",
    &[
        ("additional_contexts", PAIRS),
        ("args", PAIRS),
        ("cache_from", TEXTS),
        ("cache_to", TEXTS),
        ("context", Text),
        ("dockerfile", Text),
        ("dockerfile_inline", Text),
        ("entitlements", TEXTS),
        ("extra_hosts", EXTRA_HOSTS),
        ("isolation", Text),
        ("labels", PAIRS),
        ("network", Text),
        ("no_cache", Bool),
        ("platforms", TEXTS),
        ("privileged", Bool),
        ("provenance", TextOrBool),
        ("pull", Bool),
        ("sbom", TextOrBool),
        ("secrets", GRANTS),
        ("shm_size", Size),
        ("ssh", PAIRS),
        ("tags", TEXTS),
        ("target", Text),
        ("ulimits", ULIMITS),
    ],
));

const RATE: Shape = List(&Obj(&object("device limit", &[("path", Text), ("rate", Size)])));
const WEIGHT: Shape = List(&Obj(&object("device weight", &[("path", Text), ("weight", Int)])));
const BLKIO: Shape = Obj(&object(
    "blkio_config",
    &[
        ("device_read_bps", RATE),
        ("device_read_iops", RATE),
        ("device_write_bps", RATE),
        ("device_write_iops", RATE),
        ("weight", Int),
        ("weight_device", WEIGHT),
    ],
));

const DEPENDENCY: Shape = Obj(&Object {
    what: "dependency",
    keys: &[
        (
            "condition",
            Word(&["service_started", "service_healthy", "service_completed_successfully"]),
        ),
        ("required", Bool),
        ("restart", Bool),
    ],
    required: &["condition"],
    extensions: true,
});

const UPDATE: Shape = Obj(&object(
    "update_config",
    &[
        ("delay", Span),
        ("failure_action", Text),
        ("max_failure_ratio", Number),
        ("monitor", Span),
        ("order", Word(&["start-first", "stop-first"])),
        ("parallelism", Int),
    ],
));

const DEPLOY: Shape = Obj(&object(
    "deploy",
    &[
        ("endpoint_mode", Text),
        ("labels", PAIRS),
        ("mode", Text),
        (
            "placement",
            Obj(&object(
                "placement",
                &[
                    ("constraints", TEXTS),
                    ("max_replicas_per_node", Int),
                    ("preferences", List(&Obj(&object("preference", &[("spread", Text)])))),
                ],
            )),
        ),
        ("replicas", Int),
        (
            "resources",
            Obj(&object(
                "resources",
                &[
                    (
                        "limits",
                        Obj(&object(
                            "limit",
                            &[("cpus", Number), ("memory", SizeText), ("pids", Int)],
                        )),
                    ),
                    (
                        "reservations",
                        Obj(&object(
                            "reservation",
                            &[
                                ("cpus", Number),
                                ("devices", List(&DEVICE_REQUEST)),
                                ("generic_resources", List(&GENERIC)),
                                ("memory", SizeText),
                            ],
                        )),
                    ),
                ],
            )),
        ),
        (
            "restart_policy",
            Obj(&object(
                "restart_policy",
                &[
                    ("condition", Text),
                    ("delay", Span),
                    ("max_attempts", Int),
                    ("window", Span),
                ],
            )),
        ),
        ("rollback_config", UPDATE),
        ("update_config", UPDATE),
    ],
));

const DEVELOP: Shape = Obj(&object(
    "develop",
    &[(
        "watch",
        List(&Obj(&Object {
            what: "watch entry",
            keys: &[
                (
                    "action",
                    Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
                ),
                ("exec", HOOK),
                ("ignore", TEXT_OR_LIST),
                ("include", TEXT_OR_LIST),
                ("initial_sync", Bool),
                ("path", Text),
                ("target", Text),
            ],
            required: &["path", "action"],
            extensions: true,
        })),
    )],
));

const HOOK: Shape = Obj(&Object {
    what: "hook",
    keys: &[
        ("command", COMMAND),
        ("environment", PAIRS),
        ("privileged", Bool),
        ("user", Text),
        ("working_dir", Text),
    ],
    required: &["command"],
    extensions: true,
});

const DEVICE: Shape = Obj(&Object {
    what: "device",
    keys: &[("permissions", Text), ("source", Text), ("target", Text)],
    required: &["source"],
    extensions: true,
});

const REQUEST: &[(&str, Shape)] = &[
    ("capabilities", SET),
    ("count", TextOrInt),
    ("device_ids", SET),
    ("driver", Text),
    ("options", PAIRS),
];
const GPU: Shape = Obj(&object("device request", REQUEST));
const DEVICE_REQUEST: Shape = Obj(&Object {
    what: "device request",
    keys: REQUEST,
    required: &["capabilities"],
    extensions: true,
});

const GENERIC: Shape = Obj(&object(
    "generic resource",
    &[(
        "discrete_resource_spec",
        Obj(&object("discrete resource", &[("kind", Text), ("value", Int)])),
    )],
));

const MODEL: Shape = Obj(&Object {
    what: "model",
    keys: &[
        ("context_size", Int),
        ("model", Text),
        ("name", Text),
        ("runtime_flags", TEXTS),
    ],
    required: &["model"],
    extensions: true,
});
const MODEL_USE: Shape = Obj(&object("model", &[("endpoint_var", Text), ("model_var", Text)]));

const ENV_FILE: Shape = Obj(&Object {
    what: "env_file entry",
    keys: &[("format", Word(&["raw", ""])), ("path", Text), ("required", Bool)],
    required: &["path"],
    extensions: false,
});

const EXTENDS: Shape = Obj(&Object {
    what: "extends",
    keys: &[("file", Text), ("service", Text)],
    required: &["service"],
    extensions: false,
});

const HEALTHCHECK: Shape = Obj(&object(
    "healthcheck",
    &[
        ("disable", Bool),
        ("interval", Span),
        ("retries", Int),
        ("start_interval", Span),
        ("start_period", Span),
        ("test", TEXT_OR_LIST),
        ("timeout", Span),
    ],
));

const LOGGING: Shape = Obj(&object(
    "logging",
    &[("driver", Text), ("options", Map(&OrNull(&TextOrNumber)))],
));

const ATTACHMENT: Shape = Obj(&object(
    "network attachment",
    &[
        ("aliases", TEXTS),
        ("driver_opts", OPTIONS),
        ("gw_priority", Number),
        ("interface_name", Text),
        ("ipv4_address", Text),
        ("ipv6_address", Text),
        ("link_local_ips", TEXTS),
        ("mac_address", Text),
        ("priority", Number),
    ],
));

const PORT: Shape = Obj(&object(
    "port",
    &[
        ("app_protocol", Text),
        ("host_ip", Text),
        ("mode", Text),
        ("name", Text),
        ("protocol", Text),
        ("published", TextOrInt),
        ("target", Int),
    ],
));

const GRANTS: Shape = List(&Either(&[
    Text,
    Obj(&object(
        "grant",
        &[
            ("gid", Text),
            ("mode", TextOrNumber),
            ("source", Text),
            ("target", Text),
            ("uid", Text),
        ],
    )),
]));

const ULIMITS: Shape = Map(&Either(&[
    Int,
    Obj(&Object {
        what: "ulimit",
        keys: &[("hard", Int), ("soft", Int)],
        required: &["soft", "hard"],
        extensions: true,
    }),
]));

const MOUNT: Shape = Obj(&Object {
    what: "mount",
    keys: &[
        (
            "bind",
            Obj(&object(
                "bind",
                &[
                    ("create_host_path", Bool),
                    ("propagation", Text),
                    ("recursive", Word(&["enabled", "disabled", "writable", "readonly"])),
                    ("selinux", Word(&["z", "Z"])),
                ],
            )),
        ),
        ("consistency", Text),
        ("image", Obj(&object("image mount", &[("subpath", Text)]))),
        ("read_only", Bool),
        ("source", Text),
        ("target", Text),
        (
            "tmpfs",
            Obj(&object("tmpfs", &[("mode", TextOrNumber), ("size", Size)])),
        ),
        ("type", Word(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"])),
        (
            "volume",
            Obj(&object(
                "volume mount",
                &[("labels", PAIRS), ("nocopy", Bool), ("subpath", Text)],
            )),
        ),
    ],
    required: &["type"],
    extensions: true,
});

/// `external: true`, or the old `external: {name: x}`.
const EXTERNAL: Shape = Either(&[Bool, Obj(&object("external", &[("name", Text)]))]);

const NETWORK: Shape = Obj(&object(
    "network",
    &[
        ("attachable", Bool),
        ("driver", Text),
        ("driver_opts", OPTIONS),
        ("enable_ipv4", Bool),
        ("enable_ipv6", Bool),
        ("external", EXTERNAL),
        ("internal", Bool),
        (
            "ipam",
            Obj(&object(
                "ipam",
                &[
                    (
                        "config",
                        List(&Obj(&object(
                            "subnet",
                            &[
                                ("aux_addresses", Map(&Text)),
                                ("gateway", Text),
                                ("ip_range", Text),
                                ("subnet", Text),
                            ],
                        ))),
                    ),
                    ("driver", Text),
                    ("options", Map(&Scalar)),
                ],
            )),
        ),
        ("labels", PAIRS),
        ("name", Text),
    ],
));

const VOLUME: Shape = Obj(&object(
    "volume",
    &[
        ("driver", Text),
        ("driver_opts", OPTIONS),
        ("external", EXTERNAL),
        ("labels", PAIRS),
        ("name", Text),
    ],
));

const SECRET: Shape = Obj(&object(
    "secret",
    &[
        ("driver", Text),
        ("driver_opts", OPTIONS),
        ("environment", Text),
        ("external", EXTERNAL),
        ("file", Text),
        ("labels", PAIRS),
        ("name", Text),
        ("template_driver", Text),
    ],
));

const CONFIG: Shape = Obj(&object(
    "config",
    &[
        ("content", Text),
        ("environment", Text),
        ("external", EXTERNAL),
        ("file", Text),
        ("labels", PAIRS),
        ("name", Text),
        ("template_driver", Text),
    ],
));
