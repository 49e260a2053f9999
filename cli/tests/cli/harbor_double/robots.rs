//! Robot accounts.

use axum::http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::{ADMIN, Answer, ROBOT_SECRET, Site, page, parameter, refuse};

/// When robots are made, as text and in seconds: far ahead, so that none has expired unless a test says so.
const CREATED: (&str, i64) = ("2096-10-02T07:06:40.000Z", 4_000_000_000);

/// Harbor counts from the creation, and only when the days change.
fn expires(days: i64) -> i64 {
    if days < 0 { -1 } else { CREATED.1 + days * 24 * 3600 }
}

impl Site {
    pub(super) fn robot(&mut self, method: &str, user: &str, id: Option<&&str>, uri: &Uri, body: Value) -> Answer {
        let query = parameter(uri, "q").unwrap_or_default();
        let keys: Vec<(&str, &str)> = query.split(',').filter_map(|pair| pair.split_once('=')).collect();
        let key = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let own = |id: &&str| self.robots.iter().position(|robot| robot["id"].as_i64() == id.parse().ok());
        let at = id.and_then(own);
        let level = match at {
            Some(at) => self.robots[at]["level"].as_str().unwrap().to_owned(),
            None if method == "GET" => key("Level").unwrap_or_else(|| "system".to_owned()),
            None => body["level"].as_str().unwrap_or_default().to_owned(),
        };
        if level == "system" && user != ADMIN.0 {
            return refuse(StatusCode::FORBIDDEN, user);
        }
        match (method, id, at) {
            ("GET", None, _) => {
                let project = key("ProjectID").unwrap_or_else(|| "0".to_owned());
                let name = key("name");
                let fits = |robot: &&Value| {
                    let bare = robot["name"].as_str().unwrap().trim_start_matches("robot$");
                    robot["project"].as_i64() == project.parse().ok() && name.as_deref().is_none_or(|name| name == bare)
                };
                page(self.robots.iter().filter(fits), uri)
            }
            ("GET", Some(_), Some(at)) => (StatusCode::OK, self.robots[at].clone()),
            ("POST", None, _) => self.create_robot(&body),
            ("PUT", Some(_), Some(at)) => self.update_robot(at, body),
            ("PATCH", Some(_), Some(_)) => {
                let secret = self.tells_secrets.then(|| format!("{ROBOT_SECRET}-2"));
                (StatusCode::OK, json!({"secret": secret}))
            }
            _ => refuse(StatusCode::NOT_FOUND, "no robot"),
        }
    }

    fn check_robot(body: &Value) -> Result<(), Answer> {
        let bad = |message: &str| Err(refuse(StatusCode::BAD_REQUEST, message));
        let permissions = body["permissions"].as_array().cloned().unwrap_or_default();
        if permissions.is_empty() || permissions.iter().any(|p| p["access"].as_array().is_none_or(Vec::is_empty)) {
            return bad("bad request empty permission");
        }
        let accesses = permissions.iter().flat_map(|permission| permission["access"].as_array().unwrap());
        for access in accesses {
            let action = access["action"].as_str().unwrap_or_default();
            if access["resource"] != "repository" || !["pull", "push", "delete", "list", "read"].contains(&action) {
                return bad("bad request permission");
            }
        }
        match body["duration"].as_i64() {
            Some(-1 | 1..) => Ok(()),
            _ => bad("bad request error duration input"),
        }
    }

    fn create_robot(&mut self, body: &Value) -> Answer {
        if let Err(answer) = Self::check_robot(body) {
            return answer;
        }
        let permissions = body["permissions"].as_array().unwrap();
        let namespace = permissions[0]["namespace"].as_str().unwrap();
        let (name, project) = match body["level"].as_str() {
            Some("project") if permissions.len() == 1 => {
                let id = self.projects.iter().find(|(name, ..)| *name == namespace).unwrap().1;
                (format!("robot${namespace}+{}", body["name"].as_str().unwrap()), id)
            }
            Some("system") => (format!("robot${}", body["name"].as_str().unwrap()), 0),
            _ => return refuse(StatusCode::BAD_REQUEST, "bad request permission"),
        };
        self.next_id += 1;
        let days = body["duration"].as_i64().unwrap();
        let mut robot = body.clone();
        robot["id"] = self.next_id.into();
        robot["name"] = name.clone().into();
        robot["editable"] = true.into();
        robot["creation_time"] = CREATED.0.into();
        robot["expires_at"] = expires(days).into();
        robot["project"] = project.into();
        self.robots.push(robot);
        (
            StatusCode::CREATED,
            json!({"id": self.next_id, "name": name, "secret": self.tells_secrets.then_some(ROBOT_SECRET),
                   "expires_at": expires(days), "creation_time": CREATED.0}),
        )
    }

    fn update_robot(&mut self, at: usize, body: Value) -> Answer {
        if let Err(answer) = Self::check_robot(&body) {
            return answer;
        }
        let robot = &mut self.robots[at];
        if robot["name"] != body["name"] || robot["level"] != body["level"] {
            return refuse(StatusCode::BAD_REQUEST, "cannot update the level or name of robot");
        }
        if robot["duration"] != body["duration"] {
            robot["expires_at"] = expires(body["duration"].as_i64().unwrap()).into();
        }
        for key in ["description", "disable", "duration", "permissions"] {
            robot[key] = body[key].clone();
        }
        (StatusCode::OK, Value::Null)
    }
}
