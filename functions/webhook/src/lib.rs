//! Takes push events and makes tasks of them.

mod payload;
