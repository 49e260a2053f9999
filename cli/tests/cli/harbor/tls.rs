//! A Harbor behind an authority of its own.

use super::run;
use crate::harbor_double::{HarborDouble, authority};
use crate::machine::Machine;

#[tokio::test]
async fn a_private_authority_is_trusted_where_its_file_is_named() {
    let (machine, ours) = (Machine::new().await, authority());
    let harbor = HarborDouble::start_tls(&ours);
    machine.write("ca.pem", &ours.pem());
    machine.write("other.pem", &authority().pem());
    let args = ["connect", "library", "--show-robot-secret", "--ca-file"];
    let ran = run(&machine, &harbor, &[&args[..], &["other.pem"]].concat()).await;
    assert!(ran.code == Some(3) && ran.stderr.contains("--ca-file FILE trusts an authority of your own"), "{ran:?}");
    assert_eq!(harbor.asked(), [""; 0], "nobody else gets the password");
    let ran = run(&machine, &harbor, &[&args[..], &["ca.pem"]].concat()).await;
    assert!(ran.code == Some(0) && ran.stdout.matches("created").count() == 2, "{ran:?}");
    let ran = run(&machine, &harbor, &[&args[..], &["nowhere.pem"]].concat()).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("nowhere.pem cannot be read"), "{ran:?}");
}
