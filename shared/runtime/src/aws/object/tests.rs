use std::net::Ipv4Addr;
use std::time::UNIX_EPOCH;

use aws_config::Region;
use aws_sdk_ssm::config::SharedCredentialsProvider;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

#[test]
fn s3_is_where_aws_says() {
    let rows = [
        ("eu-central-1", false, false, "https://s3.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", true, false, "https://s3-fips.us-gov-west-1.amazonaws.com"),
        ("us-east-1", true, true, "https://s3-fips.dualstack.us-east-1.amazonaws.com"),
        ("cn-north-1", false, true, "https://s3.dualstack.cn-north-1.amazonaws.com.cn"),
        ("us-iso-east-1", false, false, "https://s3.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", false, false, "https://s3.us-isob-east-1.sc2s.sgov.gov"),
        ("us-isof-south-1", false, false, "https://s3.us-isof-south-1.csp.hci.ic.gov"),
        ("eu-isoe-west-1", false, false, "https://s3.eu-isoe-west-1.cloud.adc-e.uk"),
        ("eusc-de-east-1", false, false, "https://s3.eusc-de-east-1.amazonaws.eu"),
    ];
    for (region, fips, dual, expected) in rows {
        let sdk = SdkConfig::builder().region(Region::new(region)).use_fips(fips).use_dual_stack(dual).build();
        assert_eq!(endpoint(&sdk, region), expected);
    }
    let sdk = SdkConfig::builder().endpoint_url("http://127.0.0.1:4566/").build();
    assert_eq!(endpoint(&sdk, "us-east-1"), "http://127.0.0.1:4566");
}

fn credentials(token: Option<&str>) -> Credentials {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    Credentials::new("AKIAIOSFODNN7EXAMPLE", secret, token.map(str::to_owned), None, "test")
}

/// The expected signatures were worked out with another implementation, from the keys and the time of the examples in
/// the S3 API Reference.
#[test]
fn a_request_is_signed() {
    let now = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
    let url = format!("https://s3.us-east-1.amazonaws.com/examplebucket/{}", encoded("a dir/test$file.text"));
    let rows = [
        (
            None,
            "host;x-amz-content-sha256;x-amz-date",
            "f3687daa8628df7cba7b0af8e7fb4177930a13e7f2f8fa308c7364d9301cf112",
        ),
        // As in Lambda.
        (
            Some("a/session+token=="),
            "host;x-amz-content-sha256;x-amz-date;x-amz-security-token",
            "4396bd98193dba6c8f1b28f9b95091f830dc80fed77c075f93397ef550c3bce2",
        ),
    ];
    for (token, headers, signature) in rows {
        let request = signed(&credentials(token), "us-east-1", &url, now).unwrap();
        assert!(request.uri().ends_with("/a%20dir/test%24file.text"), "{}", request.uri());
        let header = |name| request.headers().get(name);
        assert_eq!(header("x-amz-date"), Some("20130524T000000Z"));
        let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(header("x-amz-content-sha256"), Some(of_nothing));
        assert_eq!(header("x-amz-security-token"), token);
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders={headers}, Signature={signature}"
        );
        assert_eq!(header("authorization"), Some(expected.as_str()));
    }
}

/// What a server writes to a request before it closes the connection.
fn answer(status: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn error(status: u16, code: &str) -> Vec<u8> {
    answer(status, format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>secret</Message></Error>"))
}

/// Reads an object from a server that gives these answers one after another, the last one for ever, and counts the
/// requests.
async fn read_from(answers: Vec<Vec<u8>>) -> (Result<String, RemoteError>, usize) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let provider = SharedCredentialsProvider::new(credentials(Some("token")));
    let sdk = SdkConfig::builder()
        .region(Region::new("eu-central-1"))
        .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
        .credentials_provider(provider)
        .build();
    let mut requests = 0;
    let serve = async {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(connection.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            assert!(head.starts_with("GET /bucket/dir/accel%20.yaml HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("x-amz-security-token: token\r\n"), "{head}");
            let answer = &answers[requests.min(answers.len() - 1)];
            requests += 1;
            // Whoever asks may have read enough before the end.
            connection.write_all(answer).await.ok();
            connection.shutdown().await.ok();
        }
    };
    let read = tokio::select! {
        read = object(&sdk, "bucket", "dir/accel .yaml") => read,
        () = serve => unreachable!("it serves for ever"),
    };
    (read, requests)
}

#[tokio::test]
async fn what_s3_answers_is_told_and_asked_for_again_only_if_that_may_help() {
    let unreachable = |why: &str| Err(unreachable_because(why));
    let region = "the bucket has to be in the function's region, eu-central-1";
    let good = || answer(200, "rules: []");
    let cut = good()[..good().len() - 3].to_vec();
    let rows = [
        (vec![good()], Ok("rules: []".to_owned()), 1),
        (vec![answer(200, b"\xff")], Err(RemoteError::NotText), 1),
        (vec![error(403, "AccessDenied")], Err(RemoteError::Denied("s3:GetObject")), 1),
        (vec![error(403, "RequestTimeTooSkewed")], unreachable("S3 answered 403 RequestTimeTooSkewed"), 1),
        (vec![error(403, "InvalidAccessKeyId")], unreachable("S3 answered 403 InvalidAccessKeyId"), 1),
        (vec![error(404, "NoSuchKey")], Err(RemoteError::Missing), 1),
        (vec![error(404, "NoSuchBucket")], Err(RemoteError::Missing), 1),
        (vec![error(400, "ExpiredToken")], unreachable("S3 answered 400 ExpiredToken"), 1),
        (
            vec![error(301, "PermanentRedirect")],
            unreachable(&format!("S3 answered 301 PermanentRedirect: {region}")),
            1,
        ),
        (
            vec![error(400, "AuthorizationHeaderMalformed")],
            unreachable(&format!("S3 answered 400 AuthorizationHeaderMalformed: {region}")),
            1,
        ),
        (vec![answer(403, "<html>")], unreachable("S3 answered 403"), 1),
        (vec![answer(404, "")], unreachable("S3 answered 404"), 1),
        (vec![error(400, "no <b>code</b>")], unreachable("S3 answered 400"), 1),
        (vec![error(503, "SlowDown"), good()], Ok("rules: []".to_owned()), 2),
        (vec![error(429, "TooManyRequests"), good()], Ok("rules: []".to_owned()), 2),
        (vec![Vec::new(), good()], Ok("rules: []".to_owned()), 2),
        (vec![cut, good()], Ok("rules: []".to_owned()), 2),
        (vec![error(500, "InternalError")], unreachable("S3 answered 500 InternalError"), 4),
    ];
    let mut rows: JoinSet<()> = rows
        .into_iter()
        .map(|(answers, expected, requests)| async move {
            assert_eq!(read_from(answers).await, (expected, requests));
        })
        .collect();
    while let Some(row) = rows.join_next().await {
        row.unwrap();
    }
}

#[tokio::test]
async fn the_reason_of_a_network_error_is_told() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let connector = Connector::builder().tls_provider(TLS).build();
    let request = signed(&credentials(None), "us-east-1", &format!("http://{closed}/a/b"), SystemTime::now()).unwrap();
    let Err(Failure::Passing(RemoteError::Unreachable(why))) = ask(&connector, request, "us-east-1").await else {
        panic!("nobody is there");
    };
    assert!(why.to_lowercase().contains("connection refused"), "{why}");
}

/// So that the parser can say that it is too much.
#[tokio::test]
async fn an_object_that_is_too_large_is_text_wherever_a_piece_ends() {
    let mut bytes = "\u{e4}".repeat(MAX_FILE_BYTES / 2 + 1).into_bytes();
    bytes.pop();
    let answer = HttpResponse::new(200.try_into().unwrap(), bytes.into());
    let Ok(read) = text(answer).await else { panic!("it is text") };
    assert!(read.len() > MAX_FILE_BYTES);
}

#[tokio::test]
async fn of_an_object_that_is_too_large_not_all_is_read() {
    let (read, requests) = read_from(vec![answer(200, "\u{e4}".repeat(4 * MAX_FILE_BYTES))]).await;
    let read = read.unwrap().len();
    assert!(read > MAX_FILE_BYTES && read < 2 * MAX_FILE_BYTES, "{read} bytes");
    assert_eq!(requests, 1);
}
