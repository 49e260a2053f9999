//! What goes where: standard output for the product, codes for scripts, quiet where nobody reads.

use std::process::Stdio;

use crate::machine::{Machine, Ran};

#[tokio::test]
async fn a_reader_that_has_gone_away_ends_a_command_quietly() {
    let machine = Machine::new().await;
    for args in [&["completions", "bash"][..], &["config", "docs"], &["config", "schema"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = machine.command(args).stdout(Stdio::from(writer)).spawn().unwrap();
        let ended = child.wait_with_output().await.unwrap();
        assert_eq!(ended.status.code(), Some(141), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{args:?}");
    }
}

#[tokio::test]
async fn a_full_disk_is_a_failure() {
    let machine = Machine::new().await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let child = machine.command(&["config", "schema"]).stdout(Stdio::from(full)).spawn().unwrap();
    let ran = Ran::from(child.wait_with_output().await.unwrap());
    assert!(ran.code == Some(1) && ran.stderr.contains("cannot be written"), "{ran:?}");
}

#[tokio::test]
async fn every_shell_gets_completions() {
    let machine = Machine::new().await;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = machine.run(&["completions", shell]).await;
        assert_eq!(ran.code, Some(0), "{shell}");
        assert!(ran.stdout.contains("salvage") && ran.stdout.contains("plain-http"), "{shell}");
        // The others complete no values.
        let values = ["bash", "zsh", "fish"].contains(&shell);
        assert!(!values || ran.stdout.contains("nydus") && ran.stdout.contains("lz4_block"), "{shell}");
    }
}

#[tokio::test]
async fn says_its_version_and_what_is_wrong_with_a_command_line() {
    let machine = Machine::new().await;
    let ran = machine.run(&["--version"]).await;
    assert_eq!(ran.stdout, format!("accelctl {}\n", env!("CARGO_PKG_VERSION")));
    for args in [&[][..], &["nothing"], &["task", "show", "not-an-id"], &["task", "retry"], &["completions", "tcsh"]] {
        let ran = machine.run(args).await;
        assert!(ran.code == Some(2) && ran.stdout.is_empty() && !ran.stderr.is_empty(), "{args:?}: {ran:?}");
    }
}
