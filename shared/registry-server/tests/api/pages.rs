//! Lists in pages.

use accel_registry_server::Registry;
use serde_json::json;

use crate::call;

#[tokio::test]
async fn pages_follow_each_other() {
    let registry = Registry::default();
    for tag in ["c", "a", "b"] {
        registry.content().put_manifest("r", tag, "x/y", "{}");
    }
    registry.content().put_blob("q", "x");
    let rows = [
        ("/v2/r/tags/list", json!({"name": "r", "tags": ["a", "b", "c"]}), ""),
        ("/v2/r/tags/list?n=2", json!({"name": "r", "tags": ["a", "b"]}), "</v2/r/tags/list?n=2&last=b>; rel=\"next\""),
        ("/v2/r/tags/list?n=2&last=b", json!({"name": "r", "tags": ["c"]}), ""),
        ("/v2/r/tags/list?n=3", json!({"name": "r", "tags": ["a", "b", "c"]}), ""),
        ("/v2/r/tags/list?n=0", json!({"name": "r", "tags": []}), ""),
        ("/v2/_catalog", json!({"repositories": ["q", "r"]}), ""),
        ("/v2/_catalog?n=1", json!({"repositories": ["q"]}), "</v2/_catalog?n=1&last=q>; rel=\"next\""),
        ("/v2/_catalog?last=q", json!({"repositories": ["r"]}), ""),
    ];
    for (path, body, link) in rows {
        let page = call(&registry, &format!("GET {path}")).await;
        assert_eq!((page.status.as_u16(), page.json(), page.header("link")), (200, body, link), "{path}");
    }
    assert_eq!(call(&registry, "GET /v2/r/tags/list?n=x").await.refusal().1, "PAGINATION_NUMBER_INVALID");
    assert_eq!(call(&registry, "GET /v2/s/tags/list").await.refusal(), (404, "NAME_UNKNOWN".to_owned()));
}
