//! What people do with conversations, members and devices, over the SDK and on the command line, with real
//! servers.

#[path = "e2e_requests/command_line.rs"]
mod command_line;
#[path = "e2e_requests/sdk.rs"]
mod sdk;
