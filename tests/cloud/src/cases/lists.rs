//! The task list.

use accel_image::Digest;
use serde_json::Value;

use crate::ask::Ask;
use crate::events::harbor;
use crate::target::{Key, Target};

const LIST: &str = "/api/v1/conversions";

/// A task that has completed.
async fn converted(target: &Target, repository: &str, tag: &str) -> String {
    target.push(repository, tag, 1);
    let id = target.task(&harbor(&[&target.pushed(repository, tag)], 0)).await;
    target.completed(&id).await;
    id
}

/// A task that has failed.
async fn failed(target: &Target, repository: &str, tag: &str) -> String {
    let id = target.task(&harbor(&[&target.push_broken(repository, tag)], 0)).await;
    assert_eq!(target.ended(&id).await["status"], "FAILED");
    id
}

fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

pub(super) async fn rows_begin_as_acceld_s_do(target: &Target) {
    let id = converted(target, "library/shape", "v1").await;
    let answer = target.ask(Ask::get(format!("{LIST}?source=library/shape")).auth(Key::Hook)).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.body.starts_with(&format!("[{{\"id\":\"{id}\",\"created\":\"")), "{answer:?}");
    let fields = ["id", "created", "finished", "source", "source_size", "target_size", "status", "reason"];
    let row = answer.json()[0].clone();
    let first: Vec<_> = row.as_object().unwrap().keys().take(fields.len()).map(String::as_str).collect();
    assert_eq!(first, fields);
}

/// New tasks come to the front, and move nothing on the pages behind.
pub(super) async fn pages_lead_to_the_next_until_all_were_shown(target: &Target) {
    let mut expected = Vec::new();
    for tag in 0..5 {
        expected.insert(0, failed(target, "library/pages", &tag.to_string()).await);
    }
    let (mut path, mut seen, mut pages) = (format!("{LIST}?limit=2&source=library/pages%3A"), Vec::new(), 0);
    loop {
        let answer = target.ask(Ask::get(&path).auth(Key::Hook)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        seen.extend(ids(answer.json().as_array().unwrap()));
        pages += 1;
        let Some(link) = answer.header("link") else { break };
        let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
        path = target.resolve(&path, next.unwrap_or_else(|| panic!("{link}")));
        failed(target, "library/pages", &format!("new{pages}")).await;
    }
    // A last page that is full may lead to an empty one.
    assert!((3..=4).contains(&pages), "{pages} pages");
    assert_eq!(seen, expected);
}

pub(super) async fn lists_are_filtered_by_status_and_source(target: &Target) {
    let one = converted(target, "library/filters/app", "v1").await;
    let two = failed(target, "library/filters/db", "v1").await;
    let three = failed(target, "library/filters/db", "v2").await;
    let all = "source=library/filters/";
    let rows: [(String, &[&String]); 8] = [
        (format!("?{all}"), &[&three, &two, &one]),
        (format!("?{all}&status="), &[&three, &two, &one]),
        (format!("?{all}&status=COMPLETED"), &[&one]),
        (format!("?{all}&status=failed"), &[&three, &two]),
        (format!("?{all}&status=PROCESSING"), &[]),
        ("?source=filters/db".to_owned(), &[&three, &two]),
        ("?source=filters%2Fdb%3Av2&status=FAILED".to_owned(), &[&three]),
        (format!("?{all}&limit=5000"), &[&three, &two, &one]),
    ];
    for (query, expected) in rows {
        assert_eq!(ids(&target.listed(&query, Key::Hook).await).iter().collect::<Vec<_>>(), expected, "{query}");
    }
}

pub(super) async fn a_header_sees_what_it_covers(target: &Target) {
    let library = failed(target, "library/covered", "v1").await;
    let private = failed(target, "private/covered", "v1").await;
    let elsewhere = target.claimed("library/covered", "v1", Digest::of(b"v1")).at(&target.other_host());
    let answer = target.ask(Ask::event(harbor(&[&elsewhere], 0)).auth(Key::Other)).await;
    let other = answer.ids().remove(0);
    let rows: [(Key, &[&String]); 4] = [
        (Key::Admin, &[&other, &private, &library]),
        (Key::Hook, &[&private, &library]),
        (Key::Library, &[&library]),
        (Key::Other, &[&other]),
    ];
    for (key, expected) in rows {
        let listed = target.listed("?source=/covered", key).await;
        assert_eq!(ids(&listed).iter().collect::<Vec<_>>(), expected, "{key:?}");
        for id in [&library, &private, &other] {
            let status = target.ask(Ask::get(format!("{LIST}/{id}")).auth(key)).await.status;
            assert_eq!(status, if expected.contains(&id) { 200 } else { 404 }, "{key:?} {id}");
        }
    }
}
