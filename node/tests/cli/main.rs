//! The real program: exit codes, output, and what two processes do with each other.

#![cfg(feature = "cli")]

mod api;
mod calls;
mod copies;
mod faults;
mod lifecycle;
mod messages;
mod one_shot;
mod peers;
mod terminal;
