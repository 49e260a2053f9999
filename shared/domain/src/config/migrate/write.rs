//! Writes what was taken over. Everything that came from a file is in quotes.

use std::fmt::Write as _;

use super::{OurRegistry, OurRule, Ours};

const HEAD: &str = "\
# Made from acceld's configuration by `accelctl config migrate`, which also said what to do by hand.
# `accelctl config check FILE` checks it; docs/CONFIGURATION.md describes every key.
";

pub(super) fn yaml(ours: &Ours) -> String {
    let mut text = HEAD.to_owned();
    server(&mut text, ours).and_then(|()| registries(&mut text, &ours.registries)).expect("a String takes everything");
    let rule = rule(&ours.rule);
    for line in rule.lines() {
        text.push_str(if ours.rule.in_force { "" } else { "# " });
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// JSON strings are YAML strings too.
pub(super) fn quoted(value: impl ToString) -> String {
    serde_json::Value::from(value.to_string()).to_string()
}

fn server(text: &mut String, ours: &Ours) -> std::fmt::Result {
    if ours.listen.is_some() || ours.workers.is_some() {
        writeln!(text, "server:")?;
    }
    ours.listen.iter().try_for_each(|listen| writeln!(text, "  listen: {}", quoted(listen)))?;
    ours.workers.iter().try_for_each(|workers| writeln!(text, "  workers: {workers}"))
}

fn registries(text: &mut String, registries: &[OurRegistry]) -> std::fmt::Result {
    writeln!(text, "registries:{}", if registries.is_empty() { " {}" } else { "" })?;
    for OurRegistry { host, login, webhook } in registries {
        let empty = login.is_none() && webhook.is_none();
        writeln!(text, "  {}:{}", quoted(host), if empty { " {}" } else { "" })?;
        if let Some((user, variable)) = login {
            writeln!(text, "    username: {}\n    password: ${{env:{variable}}}", quoted(user))?;
        }
        if let Some(variable) = webhook {
            writeln!(text, "    webhook_auth:\n      - value: ${{env:{variable}}}")?;
        }
    }
    Ok(())
}

fn rule(rule: &OurRule) -> String {
    let platforms: Vec<String> = rule.platforms.iter().map(quoted).collect();
    let platforms =
        if platforms.is_empty() { String::new() } else { format!("    platforms: [{}]\n", platforms.join(", ")) };
    let (suffix, target) =
        (quoted(format!("*{}", rule.suffix)), quoted(format!("{{repository}}:{{tag}}{}", rule.suffix)));
    let mut text = format!(
        "rules:\n  - match:\n      except_tags: [{suffix}]\n{platforms}    convert:\n      - format: {}\n        target: \
         {target}\n        adopt: true\n",
        rule.format
    );
    for (key, value) in &rule.options {
        writeln!(text, "        {key}: {value}").expect("a String takes everything");
    }
    text
}
