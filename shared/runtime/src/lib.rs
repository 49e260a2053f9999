//! What a process needs: configuration, secrets, telemetry, HTTP errors.
