//! Every fault with its place.

use super::*;

/// (file, line, key, part of the message): each file has this one fault only.
fn check_rows(rows: &[(&str, usize, &str, &str)]) {
    for (text, line, key, message) in rows {
        let errors = parse(text, "accel.yaml").expect_err(text);
        let [fault] = errors.faults() else { panic!("{text}\n{errors}") };
        assert_eq!((fault.line, fault.key.as_str()), (*line, *key), "{text}\n{errors}");
        assert!(fault.message.contains(message), "{text}\n{errors}");
    }
}

#[test]
fn names_faults_of_form() {
    check_rows(&[
        ("sever: {}", 1, "sever", "did you mean `server`"),
        ("server:\n  lisen: 127.0.0.1:1", 2, "server.lisen", "did you mean `listen`"),
        ("zzzzzzzz: 1", 1, "zzzzzzzz", "here can stand server, tasks, registries, rules"),
        ("server:\n  workers: 1\n  workers: 2", 3, "server.workers", "twice, first in line 2"),
        ("server: []", 1, "server", "must be a map of keys, not a list"),
        ("rules: {}", 1, "rules", "must be a list, not a map"),
        ("server:\n  state:\n    - a", 2, "server.state", "must be a single value, not a list"),
        ("server:\n  workers:", 2, "server.workers", "has no value"),
        ("- a", 1, "", "must be a map of keys"),
        ("server: { workers: two }", 1, "server.workers", "`two` is not a whole number"),
        ("server: { workers: \"2\" }", 1, "server.workers", "without quotes"),
        ("server: { workers: -1 }", 1, "server.workers", "-1 is out of range"),
        ("server: { workers: 0 }", 1, "server.workers", "0 is not between 1 and 256"),
        ("server: { threads: 5000 }", 1, "server.threads", "5000 is not between 1 and 1024"),
        ("server: { listen: localhost }", 1, "server.listen", "not an address with a port"),
        ("server: { webhook_body: 1XB }", 1, "server.webhook_body", "is not a size"),
        ("server: { webhook_body: 1GiB }", 1, "server.webhook_body", "between 1KiB and 64MiB"),
        ("server: { shutdown_grace: soon }", 1, "server.shutdown_grace", "is not a length of time"),
        ("server: { log: { format: xml } }", 1, "server.log.format", "`xml` is none of `text`, `json`"),
        ("server: { log: { level: all } }", 1, "server.log.level", "`error`, `warn`"),
        ("server: { tls: { cert_file: a } }", 1, "server.tls", "`key_file` is missing"),
        ("server: { admin_auth: \"\" }", 1, "server.admin_auth", "is empty"),
        ("server: { admin_auth: \"${env:X\" }", 1, "server.admin_auth", "no closing"),
        ("tasks: { attempts: 0 }", 1, "tasks.attempts", "between 1 and 100"),
        ("tasks: { retention: 1s }", 1, "tasks.retention", "between 1m and 366d"),
        ("tasks: { fan_out: { layers: 0 } }", 1, "tasks.fan_out.layers", "between 1 and 1000"),
        ("tasks: { fan_out: { byte: 1MiB } }", 1, "tasks.fan_out.byte", "did you mean `bytes`"),
        ("server: &x {}\ntasks: *x", 2, "", "aliases are not read"),
        ("a: [\n", 2, "", "not YAML"),
    ]);
}

#[test]
fn names_faults_of_registries() {
    let rows = [
        ("https://h.example", "", "", "has a scheme"),
        ("harbor", "", "", "not a registry's host"),
        ("h.example/a/b", "", "", "longer than host/project"),
        ("h.example", "pasword: x", ".pasword", "did you mean `password`"),
        ("h.example", "username: u", ".username", "without a `password`"),
        ("h.example", "password: \"${env:P}\"", ".password", "without a `username`"),
        ("h.example", "username: \"${env:U}\", password: x", ".username", "must be the name itself"),
        ("h.example", "username: u, password: x, plain_http: true", ".password", "over plain HTTP"),
        ("h.example", "webhook_auth: [{ value: \"\" }]", ".webhook_auth[0].value", "is empty"),
        ("h.example", "webhook_auth: [{ projects: [a] }]", ".webhook_auth[0]", "`value` is missing"),
        ("h.example", "webhook_auth: [{ value: x, projects: [A] }]", ".webhook_auth[0].projects[0]", "project"),
        (
            "h.example/p",
            "webhook_auth: [{ value: x, projects: [p] }]",
            ".webhook_auth[0].projects",
            "one project already",
        ),
        ("h.example/p", "plain_http: true", ".plain_http", "write it under `h.example`"),
        ("h.example/p", "limits: { ratio: 20 }", ".limits", "belongs to the host"),
        ("h.example", "plain_http: true, ca_file: a", ".ca_file", "means nothing"),
        ("h.example", "plain_http: yes", ".plain_http", "true or false"),
        ("h.example", "proxy: \"proxy:3128\"", ".proxy", "must be a URL"),
        ("h.example", "proxy: \"http://u:p@proxy:3128\"", ".proxy", "holds a password"),
        ("h.example", "token_realms: [\"https://a.example/token\"]", ".token_realms[0]", "is not a host"),
        ("h.example", "aliases: [\"a/b\"]", ".aliases[0]", "is not a host"),
        ("h.example", "aliases: [\"h.example\"]", ".aliases[0]", "registry of its own"),
        ("h.example", "aliases: [a, a]", ".aliases[1]", "alias of `h.example` already"),
        ("h.example", "limits: { entries: 0 }", ".limits.entries", "0 is not between 1 and"),
        ("h.example", "limits: { zstd_window: 4GiB }", ".limits.zstd_window", "4GiB is not between 1MiB and 2GiB"),
    ];
    for (host, keys, below, message) in rows {
        let text = with_registry(host, keys);
        check_rows(&[(&text, 2, &format!("registries.{host:?}{below}").replace("\"harbor\"", "harbor"), message)]);
    }
}

#[test]
fn plain_http_may_carry_a_login_on_loopback_or_where_it_is_said() {
    for (host, more) in [("localhost:5000", ""), ("127.0.0.1:80", ""), ("h.example", ", allow_plain_credentials: true")]
    {
        let text = with_registry(host, &format!("username: u, password: \"${{env:P}}\", plain_http: true{more}"));
        assert!(parse(&text, "x").is_ok(), "{text}");
    }
    let project = "registries:\n  h.example: { plain_http: true }\n  h.example/p: { username: u, password: x }\n";
    check_rows(&[(project, 3, "registries.\"h.example/p\".password", "over plain HTTP")]);
}

#[test]
fn names_faults_of_rules() {
    let rows = [
        ("- {}", 3, "rules[0]", "`convert` is missing"),
        ("- 7", 3, "rules[0]", "must be a map"),
        ("- convert: []", 3, "rules[0].convert", "is empty"),
        ("- convert: [{}]", 3, "rules[0].convert[0]", "`format` is missing"),
        ("- convert: [{ format: zip }]", 3, "rules[0].convert[0].format", "`zip` is not a format"),
        ("- convert: [{ format: estargz, levle: 3 }]", 3, "rules[0].convert[0].levle", "did you mean `level`"),
        ("- convert: [{ format: estargz, level: 13 }]", 3, "rules[0].convert[0].level", "between 1 and 12"),
        ("- convert: [{ format: estargz, chunk_size: 5MiB }]", 3, "rules[0].convert[0].chunk_size", "4MiB"),
        ("- convert: [{ format: estargz, prefetch: [bin] }]", 3, "rules[0].convert[0].prefetch", "absolute"),
        (
            "- convert:\n    - format: estargz\n      chunk_size: 1MiB\n      min_chunk_size: 2MiB",
            6,
            "rules[0].convert[0].min_chunk_size",
            "larger than",
        ),
        ("- convert: [{ format: nydus, fs_version: 4 }]", 3, "rules[0].convert[0].fs_version", "write 6"),
        ("- convert: [{ format: nydus, compressor: gzip }]", 3, "rules[0].convert[0].compressor", "none of `zstd`"),
        ("- convert: [{ format: nydus, chunk_size: 3MiB }]", 3, "rules[0].convert[0].chunk_size", "power of two"),
        ("- convert: [{ format: nydus, batch_size: 2MiB }]", 3, "rules[0].convert[0].batch_size", "chunk_size, 1MiB"),
        ("- convert: [{ format: nydus, prefetch: [bin] }]", 3, "rules[0].convert[0].prefetch", "absolute"),
        (
            "- convert: [{ format: nydus, fs_version: 5, chunk_dictionary: harbor.example.com/d:1 }]",
            3,
            "rules[0].convert[0].chunk_dictionary",
            "take `fs_version: 6`",
        ),
        (
            "- convert: [{ format: nydus, chunk_dictionary: o.example/d:1 }]",
            3,
            "rules[0].convert[0].chunk_dictionary",
            "`o.example` is not configured",
        ),
        (
            "- convert: [{ format: nydus, chunk_dictionary: UPPER/d }]",
            3,
            "rules[0].convert[0].chunk_dictionary",
            "not an image reference",
        ),
        ("- convert: [{ format: nydus, level: 5 }]", 3, "rules[0].convert[0].level", "not a known key"),
        (
            "- convert: [{ format: nydus, oci_ref: true, fs_version: 5 }]",
            3,
            "rules[0].convert[0].fs_version",
            "leave one of them out",
        ),
        (
            "- convert: [{ format: nydus, oci_ref: true, compressor: none }]",
            3,
            "rules[0].convert[0].compressor",
            "leave it out",
        ),
        ("- convert: [{ format: estargz, target: \"{repo}:x\" }]", 3, "rules[0].convert[0].target", "`{repo}`"),
        ("- convert: [{ format: estargz, target: \"{repository}\" }]", 3, "rules[0].convert[0].target", "no tag"),
        ("- convert: [{ format: estargz, target: \"UP/{name}:x\" }]", 3, "rules[0].convert[0].target", "not an image"),
        (
            "- convert: [{ format: estargz, target: \"o.example/{repository}:{tag}\" }]",
            3,
            "rules[0].convert[0].target",
            "`o.example` is not configured",
        ),
        (
            "- convert: [{ format: estargz, target: \"{project}/{name}:{tag}\" }]",
            3,
            "rules[0].convert[0].target",
            "the source itself",
        ),
        (
            "- match: { repository: \"lib/*\" }\n  convert: [{ format: estargz, target: \"lib/{name}:{tag}\" }]",
            4,
            "rules[0].convert[0].target",
            "the source itself",
        ),
        (
            "- convert: [{ format: estargz, target: \"m.example/{repository}:{tag}\" }]",
            3,
            "rules[0].convert[0].target",
            "leave m.example out",
        ),
        ("- convert: [{ format: estargz, overwrite: true }]", 3, "rules[0].convert[0].overwrite", "except_tags"),
        (
            "- match: { tag: \"v*\", except_tags: [\"*-orig\"] }\n  convert: [{ format: estargz, overwrite: true, \
             delete: true }]",
            4,
            "rules[0].convert[0].delete",
            "means nothing",
        ),
        (
            "- match: { tag: \"1\" }\n  convert: [{ format: estargz, overwrite: true, target: \"{repository}:x\" }]",
            4,
            "rules[0].convert[0].target",
            "must be the source",
        ),
        ("- platforms: [linux]\n  convert: [{ format: estargz }]", 3, "rules[0].platforms[0]", "is not a platform"),
        ("- attestations: keep\n  convert: [{ format: estargz }]", 3, "rules[0].attestations", "`drop`, `carry`"),
        ("- match: { tags: x }\n  convert: [{ format: estargz }]", 3, "rules[0].match.tags", "did you mean `tag`"),
        ("- match: { tag: \"a b\" }\n  convert: [{ format: estargz }]", 3, "rules[0].match.tag", "never match"),
        ("- match: { tag: \"\" }\n  convert: [{ format: estargz }]", 3, "rules[0].match.tag", "is empty"),
        ("- match: { repository: Lib }\n  convert: [{ format: estargz }]", 3, "rules[0].match.repository", "`L`"),
        ("- match: { host: q.example }\n  convert: [{ format: estargz }]", 3, "rules[0].match.host", "no host under"),
        (
            "- match: { tag: v1, except_tags: [\"v*\"] }\n  convert: [{ format: estargz }]",
            3,
            "rules[0].match.except_tags",
            "never match",
        ),
        (
            "- convert: [{ format: estargz }]\n- match: { repository: a }\n  convert: [{ format: estargz }]",
            5,
            "rules[1].convert[0].target",
            "same target as rules[0].convert[0]",
        ),
        (
            "- convert: [{ format: estargz }, { format: estargz, level: 9 }]",
            3,
            "rules[0].convert[1].target",
            "same target",
        ),
    ];
    for (rule, line, key, message) in rows {
        check_rows(&[(&with_rule(rule), line, key, message)]);
    }
    let alias = "registries: { h.example: { aliases: [core] } }\nrules:\n- match: { host: core }\n  convert: [{ format: \
                 estargz }]";
    check_rows(&[(alias, 3, "rules[0].match.host", "write `h.example`")]);
}

#[test]
fn rules_that_share_no_image_may_share_a_target() {
    for other in ["repository: \"b/*\"", "host: m.example", "tag: \"w*\"", "except_tags: [\"v*\"]"] {
        let first =
            "- match: { host: h.example, repository: \"a/*\", tag: \"v*\" }\n  convert: [{ format: estargz }]\n";
        let text = with_rule(&format!("{first}- match: {{ {other} }}\n  convert: [{{ format: estargz }}]"));
        assert!(parse(&text, "x").is_ok(), "{other}");
    }
}

#[test]
fn reports_all_faults_at_once_in_order() {
    let text = "server:\n  lisen: a\n  workers: none\nregistries:\n  harbor: {}\nrules:\n  - convert:\n      - { format: \
                estargz, level: 99, chunk_size: 1, prefetch: [x] }\n";
    let errors = parse(text, "accel.yaml").unwrap_err();
    let shown = errors.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 6, "{shown}");
    assert!(lines[0].starts_with("accel.yaml:2:3: server.lisen: is not a known key"), "{shown}");
    assert!(lines[2].starts_with("accel.yaml:5:3: registries.harbor: "), "{shown}");
}
