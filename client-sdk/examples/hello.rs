//! Says hello and reads it back: `hello SERVER CA_FILE TOKEN`.

use quoth_client::{Client, Start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [server, ca, token] = [1, 2, 3].map(|i| std::env::args().nth(i).unwrap_or_default());
    let client = Client::builder(server).ca_file(ca).token(token).connect().await?;
    let room = client.conversation("general")?;
    println!("{:?} {:?}", room.send("hello").await?, room.events(Start::Last(1)).await?.next().await);
    client.close().await;
    Ok(())
}
