//! The whole of reading: what a good file gives, and every fault with its place.

mod faults;

use std::time::Duration;

use accel_image::Reference;

use super::*;
use crate::{Format, FormatOptions, NydusCompressor};

const GOOD: &str = include_str!("../../tests/good.yaml");

fn good() -> Config {
    parse(GOOD, "good.yaml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn image(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn reads_every_key_of_a_good_file() {
    let config = good();
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:2077");
    assert_eq!(config.server.threads, Some(4));
    assert_eq!(config.server.shutdown_grace.0, Duration::from_secs(45));
    assert_eq!(config.server.log, Log { format: LogFormat::Json, level: LogLevel::Debug });
    assert_eq!((config.retry_policy().attempts, config.retry_policy().retention.as_secs()), (3, 172_800));
    let harbor = config.transport("harbor.example.com").unwrap();
    assert_eq!(harbor.limits, LayerLimits { entries: 5_000, ratio: 200, ..LayerLimits::default() });
    assert_eq!(harbor.token_realms, ["auth.example.com"]);
    let entry = &config.rules[0].convert[0];
    let FormatOptions::Estargz(options) = &entry.options else { panic!("{entry:?}") };
    assert_eq!((options.level, options.chunk_size.0), (6, 2 << 20));
    assert_eq!(options.prefetch, ["/usr/sbin/nginx"]);
    assert_eq!(config.rules[0].platforms.len(), 2);
    assert!(entry.delete && entry.subject == Some(true) && !entry.adopt);
    assert_eq!(config.rules[1].convert[0].target.as_str(), "{repository}:{tag}-esgz");
    assert_eq!(config.rules[2].convert[0].target.as_str(), "{repository}:{tag}");
    let entry = &config.rules[1].convert[1];
    let FormatOptions::Nydus(options) = &entry.options else { panic!("{entry:?}") };
    assert_eq!(
        (options.fs_version, options.compressor, options.chunk_size.0),
        (6, NydusCompressor::Lz4Block, 64 << 10)
    );
    assert_eq!(options.batch_size.0, 16 << 10);
    assert_eq!((options.prefetch.as_slice(), entry.target.as_str()), (&[][..], "{repository}:{tag}-nydus"));
}

#[test]
fn a_nydus_image_refers_to_its_source_unless_it_is_not_to() {
    let rows = [
        ("format: nydus", true),
        ("format: nydus, subject: false", false),
        ("format: nydus, overwrite: true", false),
        ("format: nydus, overwrite: true, subject: true", true),
        ("format: estargz", false),
        ("format: estargz, subject: true", true),
    ];
    for (entry, expected) in rows {
        let rule = format!("- match: {{ except_tags: [\"*-orig\"] }}\n  convert: [{{ {entry} }}]");
        let config = parse(&with_rule(&rule), "x").unwrap();
        let (_, output) = config.rules[0].outputs().next().unwrap();
        assert_eq!(output.subject, expected, "{entry}");
    }
}

#[test]
fn says_of_each_option_of_nydus_that_is_not_there_why() {
    for key in ["chunk_dict", "backend_type", "encrypt_recipients"] {
        let errors = parse(&with_rule(&format!("- convert: [{{ format: nydus, {key}: x }}]")), "x").unwrap_err();
        let shown = errors.to_string();
        assert!(shown.contains(key) && !shown.contains("not a known key"), "{shown}");
    }
}

#[test]
fn an_empty_file_is_the_defaults() {
    for text in ["", "# nothing\n", "{}"] {
        let config = parse(text, "empty").unwrap();
        assert_eq!(config, Config::default());
        assert!(config.required_rules().unwrap_err().to_string().contains("format: estargz"));
    }
}

#[test]
fn finds_hosts_logins_and_rules() {
    let config = good();
    let rows = [
        ("harbor.example.com", Some("harbor.example.com")),
        ("HARBOR.example.com", Some("harbor.example.com")),
        ("harbor-core", Some("harbor.example.com")),
        ("registry-1.docker.io", Some("docker.io")),
        ("other.example.com", None),
    ];
    for (name, expected) in rows {
        assert_eq!(config.host_of(name), expected, "{name}");
    }
    let login = |repository| config.login_for("harbor.example.com", repository).unwrap().0;
    assert_eq!((login("library/nginx"), login("team/app")), ("robot$accel", "robot$team"));
    assert_eq!(config.operator_for("harbor.example.com", "library/nginx"), Some("accel"));
    assert_eq!(config.operator_for("harbor.example.com", "team/app"), Some("robot$team"));
    assert!(config.transport("ghcr.io").is_some() && config.transport("quay.io").is_none());
    let numbers = |text| config.rules_for(&image(text)).map(|(at, _)| at).collect::<Vec<_>>();
    assert_eq!(numbers("harbor.example.com/library/nginx:1"), [0]);
    assert_eq!(numbers("harbor.example.com/library/nginx:1-dev"), [0; 0]);
    assert_eq!(numbers("harbor.example.com/team/app:1"), [1]);
}

#[test]
fn knows_what_each_webhook_secret_speaks_for() {
    let config = good();
    let secrets = config.webhook_secrets();
    let shown: Vec<_> = secrets.iter().map(|s| (s.value.to_string(), s.host, s.projects.clone())).collect();
    let host = "harbor.example.com";
    let expected = [
        ("${env:WEBHOOK_AUTH}".to_owned(), host, vec![]),
        ("***${file:/run/secrets/hook}".to_owned(), host, vec!["library"]),
        ("${ssm:/accel/team}".to_owned(), host, vec!["team"]),
    ];
    assert_eq!(shown, expected);
    assert_eq!(secrets[2].key, "registries.\"harbor.example.com/team\".webhook_auth[0].value");
    assert!(config.literal_secrets().is_empty());
    let warnings = config.warnings();
    assert!(warnings.len() == 3 && warnings[0].contains("docker.io"), "{warnings:?}");
}

#[test]
fn knows_what_concerns_a_project() {
    let config = good();
    let host = "harbor.example.com";
    let secret = |project| config.webhook_secret_for(host, project).unwrap().to_string();
    assert_eq!(secret("team"), "${ssm:/accel/team}");
    assert_eq!(secret("library"), "***${file:/run/secrets/hook}");
    assert_eq!(secret("other"), "${env:WEBHOOK_AUTH}");
    assert!(config.webhook_secret_for("docker.io", "library").is_none());
    let text = "registries: { a.example: {}, b.example: {} }\nrules:\n\
        - { match: { repository: 'library/*' }, convert: [{ format: estargz, target: '{repository}:{tag}-1' }] }\n\
        - { match: { host: 'a.*', repository: '*/app' }, convert: [{ format: estargz, target: '{repository}:{tag}-2' }] }";
    let config = super::parse(text, "test").unwrap();
    let rules = |host, project| config.rules_of_project(host, project).count();
    let counted = [("a.example", "library"), ("b.example", "library"), ("a.example", "team"), ("b.example", "team")];
    assert_eq!(counted.map(|(host, project)| rules(host, project)), [2, 1, 1, 0]);
}

#[test]
fn knows_whose_targets_go_into_a_project() {
    let text = "registries: { a.example: {}, b.example: {} }\nrules:\n\
        - { match: { host: a.example, repository: 'library/*' }, convert: [{ format: estargz, target: 'fast/{name}:{tag}-1' }] }\n\
        - { match: { repository: 'team/*' }, convert: [{ format: estargz, target: '{repository}:{tag}-2' }] }\n\
        - { match: { host: b.example }, convert: [{ format: estargz, target: 'a.example/{project}-b/{name}:{tag}-3' }] }";
    let config = super::parse(text, "test").unwrap();
    let rows = [
        ("a.example", "library", ""),
        ("a.example", "fast", "1"),
        ("a.example", "team", "2"),
        ("a.example", "team-b", "3"),
        ("b.example", "fast", ""),
        ("b.example", "team", "2"),
        ("b.example", "team-b", ""),
    ];
    for (host, project, expected) in rows {
        let found = config.entries_into(host, project).map(|entry| entry.target.as_str().rsplit('-').next().unwrap());
        assert_eq!(found.collect::<Vec<_>>().join(" "), expected, "{host}/{project}");
    }
}

#[test]
fn outputs_have_the_defaults_of_their_format() {
    let config = good();
    let (entry, output) = config.rules[1].outputs().next().unwrap();
    assert_eq!(output.options, Format::Estargz.default_options());
    assert!(!output.subject && entry.target.as_str().ends_with("-esgz"));
    assert!(config.rules[0].outputs().next().unwrap().1.subject);
}

/// A file with a registry and a rule, and `text` at its end.
fn with_rule(rule: &str) -> String {
    format!("registries: {{ h.example: {{}}, m.example: {{}} }}\nrules:\n{rule}\n")
}

fn with_registry(host: &str, keys: &str) -> String {
    format!("registries:\n  {host}: {{ {keys} }}\n")
}

#[test]
fn bounds_what_it_reads() {
    let large = "#".repeat(MAX_FILE_BYTES + 1);
    let many = with_rule(&"- { convert: [{ format: estargz }] }\n".repeat(600));
    let long = with_rule(&format!("- match: {{ tag: {} }}\n  convert: [{{ format: estargz }}]", "a".repeat(300)));
    for (text, message) in [(&large, "more than 1 MiB"), (&many, "more than 500"), (&long, "longer than 256")] {
        let errors = parse(text, "x").unwrap_err();
        assert!(
            errors.faults().iter().any(|f| f.message.contains(message)) || errors.faults().len() == 100,
            "{errors}"
        );
    }
}

#[test]
fn no_fault_and_no_debug_output_holds_a_secret() {
    let planted = "hunter2";
    let faulty = [
        "registries:\n  h.example: { password: [hunter2] }",
        "registries:\n  h.example: { username: u, password: \"${hunter2}\" }",
        "registries:\n  h.example: { username: u, password: \"hunter2${env:X\" }",
        "registries:\n  h.example: { password: hunter2, webhook_auth: hunter2 }",
        "registries:\n  h.example: { proxy: \"http://u:hunter2@p\" }",
        "registries:\n  h.example: { username: u, plain_http: true, password: hunter2 }",
        "registries:\n  h.example:\n    password: \"hunter2\n",
        "server: { admin_auth: { value: hunter2 } }",
        "registries:\n  h.example: { password: !x hunter2 }",
    ];
    for text in faulty {
        let errors = parse(text, "x").expect_err(text);
        assert!(!format!("{errors} {errors:?}").contains(planted), "{errors}");
    }
    let text = "server: { admin_auth: hunter2 }\nregistries:\n  h.example: { username: u, password: hunter2, proxy: \
                \"http://hunter2\", webhook_auth: [{ value: hunter2 }] }";
    let config = parse(text, "x").unwrap();
    let shown = format!("{config:?} {} {:?}", serde_json::to_string(&config).unwrap(), config.warnings());
    assert!(!shown.contains(planted) && shown.contains("***"), "{shown}");
    assert_eq!(config.literal_secrets().len(), 3);
}

#[test]
fn a_secret_in_the_file_itself_is_refused_in_aws_with_its_line() {
    let text = "server: { admin_auth: \"${ssm:/accel/webhook/admin}\" }\nregistries:\n  h.example:\n    username: u\n    \
                password: hunter2\n    webhook_auth:\n      - { value: \"Basic ${secretsmanager:accel/webhook/h}\" }\n      - \
                { value: hunter2 }\n";
    assert!(parse(text, "x").is_ok());
    let errors = parse_in_aws(text, "x").unwrap_err();
    let places: Vec<_> = errors.faults().iter().map(|fault| (fault.line, fault.key.as_str())).collect();
    let expected = [(5, "registries.\"h.example\".password"), (8, "registries.\"h.example\".webhook_auth[1].value")];
    assert_eq!(places, expected);
    assert!(errors.to_string().contains("write ${secretsmanager:NAME}"), "{errors}");
    assert!(!errors.to_string().contains("hunter2"), "{errors}");
    assert!(parse_in_aws("registries: { h.example: {} }", "x").is_ok());
}

#[test]
fn an_image_fans_out_only_where_a_limit_says_so() {
    let read = |text: &str| parse(&format!("tasks: {{ fan_out: {text} }}"), "f").unwrap().tasks.fan_out;
    assert!(!FanOut::default().is_exceeded_by(1000, u64::MAX));
    let rows = [
        ("{}", 1000, 1 << 40, false),
        ("{ layers: 8 }", 8, 1 << 40, false),
        ("{ layers: 8 }", 9, 0, true),
        ("{ bytes: 1MiB }", 2, 1 << 20, false),
        ("{ bytes: 1MiB }", 2, (1 << 20) + 1, true),
        ("{ bytes: 1MiB }", 1, 1 << 40, false),
        ("{ layers: 8, bytes: 1MiB }", 2, 1 << 30, true),
    ];
    for (text, layers, bytes, expected) in rows {
        assert_eq!(read(text).is_exceeded_by(layers, bytes), expected, "{text} {layers} {bytes}");
    }
}
