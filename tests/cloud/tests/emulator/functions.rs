//! The processes in which functions run: on the emulators here each environment is a child process.

use std::path::Path;

use aws_sdk_sqs::config::Credentials;

/// A running environment of a function.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) process: u32,
    variables: Vec<String>,
}

/// All environments of a function that run now.
pub(crate) fn environments(function: &str) -> Vec<Environment> {
    let name = format!("AWS_LAMBDA_FUNCTION_NAME={function}");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let process = path.file_name()?.to_str()?.parse().ok()?;
        Some(Environment { process, variables: variables(&path)? })
    });
    processes.filter(|environment| environment.variables.contains(&name)).collect()
}

fn variables(process: &Path) -> Option<Vec<String>> {
    // A process may have ended meanwhile.
    let bytes = std::fs::read(process.join("environ")).ok()?;
    Some(bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect())
}

impl Environment {
    /// The credentials that it was given.
    pub(crate) fn credentials(&self) -> Credentials {
        let [id, secret] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| self.variable(name).unwrap());
        let token = self.variable("AWS_SESSION_TOKEN").filter(|token| !token.is_empty());
        Credentials::new(id, secret, token, None, "a function's own")
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.iter().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        let process = self.process.to_string();
        let sent = std::process::Command::new("sh").args(["-c", "kill -s KILL \"$0\"", &process]).status();
        assert!(sent.unwrap().success());
    }
}
