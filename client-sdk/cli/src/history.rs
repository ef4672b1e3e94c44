//! `quoth history`.

use std::io::{BufWriter, Write};

use anyhow::bail;
use quoth_client::{Client, ClientEvent, Conversation, FetchRange, Page, Seq};

use crate::args::HistoryArgs;
use crate::connection::{Connection, Purpose};
use crate::hint::Situation;
use crate::output::{Format, note};
use crate::printer::Printer;

/// Events asked for at once; the server gives no more.
const PAGE_EVENTS: u64 = 1_000;

/// Messages that are printed when nothing is said about how many.
const COUNT_DEFAULT: u64 = 100;

pub(crate) async fn run(connection: &Connection, args: HistoryArgs) -> anyhow::Result<()> {
    let print = async |client: &Client| print(client, &args).await;
    let print =
        async |client: &Client, _: &Situation<'_>| connection.interrupt().unless_asked(print(client)).await?;
    connection.run(Purpose::Talk(args.conversation.as_str()), print).await
}

async fn print(client: &Client, args: &HistoryArgs) -> anyhow::Result<()> {
    let format = if args.json { Format::Json } else { Format::Full };
    let room = client.conversation(args.conversation.as_str())?;
    let mut printer = Printer::new(BufWriter::new(std::io::stdout().lock()), format);
    let HistoryArgs { after, before, first, last, all, around, since, until, .. } = args;
    let is_forwards = *all || after.is_some() || first.is_some() || since.is_some();
    let Bounds { floor, head } = if let Some(around) = around {
        let page =
            room.history(FetchRange::Around(*around), page_limit(last.unwrap_or(COUNT_DEFAULT))).await?;
        print_gone_before(&page, &mut printer)?;
        print_page(&page, &mut printer)?;
        Bounds::of(&page)
    } else if is_forwards {
        let begin = match since {
            Some(since) => FetchRange::AfterTime(*since),
            None => FetchRange::After(Seq(after.unwrap_or_default())),
        };
        let is_bounded = *all || since.is_some() && until.is_some();
        let limit = first.unwrap_or(if is_bounded { u64::MAX } else { COUNT_DEFAULT });
        forwards(&room, begin, (limit, *until), &mut printer).await?
    } else {
        let end = match (before, until) {
            (Some(before), _) => FetchRange::Before(Seq(*before)),
            (None, Some(until)) => FetchRange::BeforeTime(*until),
            (None, None) => FetchRange::Latest,
        };
        backwards(&room, end, last.unwrap_or(COUNT_DEFAULT), &mut printer).await?
    };
    if !printer.finish(floor, head)? {
        match head {
            Seq::ZERO => note(format_args!("{} has no messages", room.name())),
            head => note(format_args!("nothing there: {} ends with {head}", room.name())),
        }
    }
    Ok(())
}

/// What of the conversation can be read at all, by the page that was read last.
struct Bounds {
    floor: Seq,
    head: Seq,
}

impl Bounds {
    const fn of(page: &Page) -> Self {
        Self { floor: page.floor, head: page.head }
    }
}

/// Prints pages as they come, up to so many events and until a moment.
async fn forwards(
    room: &Conversation,
    begin: FetchRange,
    (limit, until_ms): (u64, Option<u64>),
    printer: &mut Printer<impl Write>,
) -> anyhow::Result<Bounds> {
    let (mut range, mut left) = (begin, limit);
    loop {
        let page = room.history(range, page_limit(left)).await?;
        print_gone_before(&page, printer)?;
        let is_over = |event: &ClientEvent| until_ms.is_some_and(|until| time_ms(event) >= Some(until));
        let end = page.events.iter().position(is_over);
        for event in &page.events[..end.unwrap_or(page.events.len())] {
            print_event(&page, event, printer)?;
        }
        left = left.saturating_sub(counted(&page));
        if end.is_some() || !page.more_after || left == 0 {
            return Ok(Bounds::of(&page));
        }
        range = FetchRange::After(told(&page)?.to);
    }
}

/// Collects pages from the end, since they are printed in ascending order.
async fn backwards(
    room: &Conversation,
    end: FetchRange,
    limit: u64,
    printer: &mut Printer<impl Write>,
) -> anyhow::Result<Bounds> {
    let (mut next, mut left, mut pages) = (end, limit, Vec::<Page>::new());
    let bounds = loop {
        let page = room.history(next, page_limit(left)).await?;
        left = left.saturating_sub(counted(&page));
        let (bounds, is_last) = (Bounds::of(&page), !page.more_before || left == 0);
        if is_last {
            print_gone_before(&page, printer)?;
        } else {
            next = FetchRange::Before(told(&page)?.from);
        }
        pages.push(page);
        if is_last {
            break bounds;
        }
    };
    pages.iter().rev().try_for_each(|page| print_page(page, printer))?;
    Ok(bounds)
}

/// What lies before the first event that can be read is gone, which no event of a page tells: it begins there.
fn print_gone_before(page: &Page, printer: &mut Printer<impl Write>) -> anyhow::Result<()> {
    page.gone_before.map_or(Ok(()), |(from, to)| printer.missing(from, to))
}

fn print_page(page: &Page, printer: &mut Printer<impl Write>) -> anyhow::Result<()> {
    page.events.iter().try_for_each(|event| print_event(page, event, printer))
}

fn print_event(page: &Page, event: &ClientEvent, printer: &mut Printer<impl Write>) -> anyhow::Result<()> {
    let state = if let ClientEvent::Event(event) = event { page.state(event.seq) } else { None };
    printer.print(event, state)
}

fn page_limit(left: u64) -> u32 {
    u32::try_from(left.min(PAGE_EVENTS)).unwrap_or(u32::MAX)
}

/// A page behind which there is another one tells of something.
fn told(page: &Page) -> anyhow::Result<&Page> {
    if page.to < page.from {
        bail!("the server says that there is more and tells of nothing");
    }
    Ok(page)
}

/// What of a page counts towards a limit. There may be nothing of it.
fn counted(page: &Page) -> u64 {
    page.events.iter().filter(|event| !matches!(event, ClientEvent::Gap { .. })).count() as u64
}

fn time_ms(event: &ClientEvent) -> Option<u64> {
    match event {
        ClientEvent::Event(event) => Some(event.time_ms),
        ClientEvent::Unknown { time_ms, .. } => Some(*time_ms),
        _ => None,
    }
}
