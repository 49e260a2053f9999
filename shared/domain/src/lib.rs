//! The words of Accel, pure: events, rules, tasks and their transitions, configuration.
