//! `quoth admin batch` and `quoth admin broadcast`: many messages, in as many requests as it takes.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use quoth_client::ConversationName;
use serde_json::{Value, json};

use super::api::Api;
use super::args::{ManyCommand, Message};
use super::call::{Call, fields};
use crate::output::{note, printable, written};
use crate::progress::bar;

/// Messages of one request, counted once for each conversation that they go to: what the server takes.
const MESSAGES_MAX: usize = 1_000;

/// Bytes of a request's messages. Less than the server takes unless it is told otherwise
/// (`api.body_bytes_max`), and a message that is longer alone goes alone.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A request, and which lines of the input its messages are.
#[derive(Debug, PartialEq)]
struct Part {
    call: Call,
    lines: Vec<usize>,
    /// Messages, counted once for each conversation.
    count: usize,
}

/// A message of a batch, and which line of the input it is.
#[derive(Debug)]
struct Line {
    number: usize,
    message: Value,
    bytes: usize,
}

/// Publishes, and prints what has become of each message; what is refused holds up nothing else.
pub(super) fn run(api: &Api, command: ManyCommand, json: bool) -> anyhow::Result<ExitCode> {
    let parts = match command {
        ManyCommand::Batch { file } => batch(&lines(&text(&file)?)?),
        ManyCommand::Broadcast { to, to_file, text: words, message } => {
            let mut conversations = to;
            if let Some(file) = to_file {
                conversations.extend(names(&text(&file)?)?);
            }
            broadcast(&conversations, &words.join(" "), &message)
        }
    };
    let total: usize = parts.iter().map(|part| part.count).sum();
    if total == 0 {
        bail!("there is nothing to publish: give at least one message and one conversation");
    }
    let (mut stored, mut refused, mut results) = (0, 0, Vec::new());
    let progress = bar(u64::try_from(total).ok(), "{pos} of {len} messages, {rate}{left}");
    let is_long = parts.len() > 1 && progress.is_hidden();
    for Part { call, lines, count } in &parts {
        let answer = api.send(call).map_err(|error| located(error, lines, stored + refused))?;
        let of_part = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        let has_stored = of_part.iter().filter(|result| result["problem"].is_null()).count();
        stored += has_stored;
        refused += of_part.len() - has_stored;
        progress.inc(u64::try_from(*count).unwrap_or_default());
        if is_long {
            note(format_args!("* {} of {total} messages", stored + refused));
        }
        if json {
            results.extend_from_slice(of_part);
        } else {
            progress.suspend(|| written(std::io::stdout().lock().write_all(shown(of_part).as_bytes())))?;
        }
    }
    progress.finish_and_clear();
    let sum = if json {
        format!("{}\n", json!({ "stored": stored, "refused": refused, "results": results }))
    } else {
        format!("{stored} stored, {refused} refused\n")
    };
    written(std::io::stdout().lock().write_all(sum.as_bytes()))?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is in a file, or comes in through the standard input.
fn text(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).context("cannot read the standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The messages of a batch. All are read before the first one goes, so that a slip in the last one leaves
/// nothing half done.
fn lines(text: &str) -> anyhow::Result<Vec<Line>> {
    let given = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = given.map(|(at, line)| {
        let message = serde_json::from_str::<Value>(line).ok().filter(Value::is_object);
        let message = message.ok_or_else(|| {
            anyhow!(
                "line {} is no JSON object, such as {{\"conversation\": \"general\", \"text\": \"hello\"}}; nothing was published",
                at + 1
            )
        })?;
        Ok(Line { number: at + 1, message, bytes: line.len() })
    });
    read.collect()
}

/// The conversations of a broadcast, one in a line.
fn names(text: &str) -> anyhow::Result<Vec<ConversationName>> {
    let given = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    given
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| ConversationName::new(line).with_context(|| format!("line {number}, {line:?}")))
        .collect()
}

fn batch(lines: &[Line]) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut messages, mut numbers, mut count, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
    let part = |messages: &mut Vec<Value>, numbers: &mut Vec<usize>, count: usize| {
        let body = json!({ "messages": std::mem::take(messages) });
        let call = Call::new("POST", "/v1/publish/batch".to_owned(), Some(body));
        Part { call, lines: std::mem::take(numbers), count }
    };
    for line in lines {
        let counts = line.message["conversations"].as_array().map_or(1, Vec::len);
        if !messages.is_empty() && (count + counts > MESSAGES_MAX || bytes + line.bytes > BODY_BYTES_MAX) {
            parts.push(part(&mut messages, &mut numbers, count));
            (count, bytes) = (0, 0);
        }
        messages.push(line.message.clone());
        numbers.push(line.number);
        count += counts;
        bytes += line.bytes;
    }
    if !messages.is_empty() {
        parts.push(part(&mut messages, &mut numbers, count));
    }
    parts
}

fn broadcast(conversations: &[ConversationName], text: &str, message: &Message) -> Vec<Part> {
    let parts = conversations.chunks(MESSAGES_MAX).map(|conversations| {
        let mut body = fields(text, message);
        body["conversations"] = json!(conversations);
        let call = Call::new("POST", "/v1/publish/broadcast".to_owned(), Some(body));
        let call = Call { once: message.once.clone(), ..call };
        Part { call, lines: Vec::new(), count: conversations.len() }
    });
    parts.collect()
}

/// Says of a request that was refused as a whole which line is meant, and what has been done before it.
fn located(error: anyhow::Error, lines: &[usize], done: usize) -> anyhow::Error {
    let text = error.to_string();
    let of_line = |text: &str| {
        let (index, rest) = text.strip_prefix("messages[")?.split_once(']')?;
        let number = lines.get(index.parse::<usize>().ok()?)?;
        Some(format!("line {number}{rest}"))
    };
    let told = of_line(&text).unwrap_or(text);
    error.context(crate::hint::Hint(format!(
        "{told}; {done} messages before it were dealt with: with an idempotency key for each message all may be sent again"
    )))
}

/// What has become of messages, in a line each.
fn shown(results: &[Value]) -> String {
    let mut out = String::new();
    for result in results {
        let conversation = printable(result["conversation"].as_str().unwrap_or_default());
        let says = |name: &str| printable(result["problem"][name].as_str().unwrap_or_default());
        let _infallible = if result["problem"].is_null() {
            let again = match (result["duplicate"] == true, result["seq"] == 1) {
                (true, _) => "  it was there already",
                (false, true) => "  the first one there",
                (false, false) => "",
            };
            writeln!(out, "{conversation}  {}{again}", result["seq"])
        } else {
            writeln!(out, "{conversation}  refused: {}: {}", says("code"), says("detail"))
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{BODY_BYTES_MAX, Line, batch, broadcast, lines, located, names, shown};
    use crate::admin::args::Message;
    use crate::hint::Hint;

    fn line(number: usize, conversations: usize, bytes: usize) -> Line {
        Line { number, message: json!({ "conversations": vec!["a"; conversations] }), bytes }
    }

    #[test]
    fn a_batch_is_as_many_requests_as_the_server_needs_in_the_order_of_its_lines() {
        let counts = |lines: &[Line]| -> Vec<(usize, Vec<usize>)> {
            batch(lines).into_iter().map(|part| (part.count, part.lines)).collect()
        };
        assert_eq!(counts(&[]), []);
        assert_eq!(counts(&[line(1, 400, 1), line(3, 600, 1)]), [(1_000, vec![1, 3])]);
        assert_eq!(counts(&[line(1, 400, 1), line(2, 601, 1)]), [(400, vec![1]), (601, vec![2])]);
        let long = [line(1, 1, BODY_BYTES_MAX), line(2, 1, 1), line(3, 1, BODY_BYTES_MAX + 1)];
        assert_eq!(counts(&long), [(1, vec![1]), (1, vec![2]), (1, vec![3])]);
    }

    #[test]
    fn a_broadcast_has_one_key_for_all_its_conversations() {
        let all = names(&(0..1_001).map(|n| format!(" c-{n}\n\n")).collect::<String>()).unwrap();
        let message = Message { once: Some("k".to_owned()), ..Message::default() };
        let parts = broadcast(&all, "hello", &message);
        assert_eq!(parts.iter().map(|part| part.count).collect::<Vec<_>>(), [1_000, 1]);
        let body = parts[1].call.body.as_ref().unwrap();
        assert_eq!(*body, json!({ "conversations": ["c-1000"], "text": "hello" }));
        assert!(parts.iter().all(|part| part.call.once.as_deref() == Some("k")));
    }

    #[test]
    fn a_line_that_is_wrong_is_named_by_its_number_and_nothing_goes_before() {
        let read = lines("{\"a\":1}\n\n{\"b\":2}\n").unwrap();
        assert_eq!(read.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 3]);
        let error = lines("{}\n\n[]\n").unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("nothing was published"), "{error}");
        assert!(format!("{:#}", names("a\n\n$\u{7}\n").unwrap_err()).contains("line 3"));
        let refused = anyhow::anyhow!("invalid").context(Hint("messages[1]: give text".to_owned()));
        assert!(located(refused, &[4, 7], 2).to_string().starts_with("line 7: give text; 2 messages"));
    }

    #[test]
    fn each_message_has_a_line() {
        let results = [
            json!({ "conversation": "a", "seq": 7, "duplicate": false }),
            json!({ "conversation": "b\u{7}", "seq": 8, "duplicate": true }),
            json!({ "conversation": "$c", "problem": { "code": "FORBIDDEN", "detail": "nobody" } }),
            json!({ "conversation": "d", "seq": 1, "duplicate": false }),
        ];
        let expected = "a  7\nb\\u{7}  8  it was there already\n$c  refused: FORBIDDEN: nobody\nd  1  the first one there\n";
        assert_eq!(shown(&results), expected);
    }
}
