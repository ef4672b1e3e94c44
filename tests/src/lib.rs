//! The harness and everything that needs a whole server.
//!
//! | module | has |
//! |---|---|
//! | [`process`] | the real server as a process |
//! | [`command`] | the server's command line, as an operator types it |
//! | [`document`] | what stands in documents to be used as it stands there |
//! | [`running`] | a command that goes on while a test looks at what it prints |
//! | [`embedded`] | the real server within the test's process |
//! | [`device`] | a device of a user, over QUIC or a WebSocket |
//! | [`issuer`] | an issuer of tokens with a key set |
//! | [`served`] | the real engine and listener over a store of the test's choice |
//! | [`hostile`] | peers that mean harm, and what honest ones notice of them |
//! | [`half_open`] | handshakes that are begun and never finished |
//! | [`history`] | what clients saw, and whether the promises held |
//! | [`wire`] | a client of bare frames |
//! | [`websocket`] | a client of bare messages of a WebSocket |
//! | [`http`] | requests to the server API, and a backend that it asks |
//! | [`tls`] | TLS in front of such a backend |
//! | [`member`] | a device whose user is in conversations |
//! | [`site`] | a server, and users who sign in there |
//! | [`load`] | publishers and readers that write down what they see |
//! | [`under_kills`] | everybody who uses the server while it is killed again and again |
//! | [`threads`] | processor time of threads |
//! | [`sim`] | a deterministic simulation of server, clients and network |
//! | [`figures`] | how far the server is from what the machine can do |
//! | [`independent`] | clients in other languages |
//! | [`fuzz`] | what the fuzz targets and the corpus replay run |

pub mod command;
pub mod device;
pub mod document;
pub mod embedded;
pub mod figures;
pub mod fuzz;
pub mod half_open;
pub mod history;
pub mod hostile;
pub mod http;
pub mod independent;
pub mod issuer;
pub mod load;
pub mod member;
pub mod process;
pub mod running;
pub mod served;
pub mod sim;
pub mod site;
pub mod threads;
pub mod tls;
pub mod under_kills;
pub mod websocket;
pub use quoth_bench::wire;
