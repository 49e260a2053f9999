//! A registry with faults, and tars written as lists.
