//! The record as one HTML page without scripts or other files.

use std::{
    fmt::{self, Write},
    time::{Duration, Instant},
};

use qrinfo_core::{AttemptErrorKind, PeerId};

use super::{
    lanes::rows,
    record::{Ending, Gone, Peer, Point, Record, Run, Sending},
};

const STYLE: &str = include_str!("style.css");

/// A curve is this wide and high, in units of its own.
const CURVE: (f64, f64) = (1000.0, 100.0);

/// The page.
pub(super) fn page(record: &Record) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <title>qrinfo report</title><style>{STYLE}</style><h1>qrinfo report</h1>"
    );
    facts(&mut out, record);
    for (number, run) in record.runs.iter().enumerate() {
        section(&mut out, number, run);
    }
    if record.missed > 0 {
        let _ = write!(out, "<p>{} events are not shown.</p>", record.missed);
    }
    out
}

fn facts(out: &mut String, record: &Record) {
    out.push_str("<table>");
    for (name, value) in &record.facts {
        let _ = write!(out, "<tr><th>{}<td>{}", Text(name), Text(value));
    }
    out.push_str("</table>");
}

fn section(out: &mut String, number: usize, run: &Run) {
    let _ = write!(out, "<section><h2>{}</h2>", Text(&run.title));
    incidents(out, number, run);
    out.push_str(LEGEND);
    let scale =
        Scale { start: run.start, length: run.end.saturating_duration_since(run.start).as_secs_f64().max(1e-3) };
    axis(out, &scale);
    for (index, (id, peer)) in run.peers.iter().enumerate() {
        lane(out, &scale, (number, index), (id, peer), run);
    }
    curve(out, &scale, &run.curve, "bytes received", |point| point.bytes);
    curve(out, &scale, &run.curve, "memory in KiB", |point| point.memory_kib);
    out.push_str("</section>");
}

const LEGEND: &str = "<p class=legend><span class=\"key queue\"></span>queued at the peer \
    <span class=\"key wait\"></span>waiting for the reply <span class=\"key transfer\"></span>transfer \
    <span class=\"key copy\"></span>second copy <b class=refused>✕</b> refusal <b class=failed>!</b> failure \
    <b class=stall>❚❚</b> stall <b class=ban>⛔</b> ban</p>";

/// Everything out of the ordinary, in the order of time, with links to its place.
fn incidents(out: &mut String, number: usize, run: &Run) {
    let mut incidents: Vec<(Instant, &str, String)> = Vec::new();
    for (index, (id, peer)) in run.peers.iter().enumerate() {
        let link = |text: &str| format!("<a href=\"#p{number}-{index}\">{}</a> {text}", Text(&id.to_string()));
        for at in &peer.stalls {
            incidents.push((*at, "stall", link("stalled: its requests went to other peers as well")));
        }
        match &peer.gone {
            Some((at, Gone::Banned(why))) => {
                incidents.push((*at, "ban", link(&format!("was banned: {}", why.label()))))
            }
            Some((at, Gone::Left(why))) => incidents.push((*at, "left", link(&format!("left: {}", Text(why))))),
            None => {}
        }
        for (_, sending) in run.sendings.iter().filter(|(send, _)| send.peer == *id) {
            if let Some((at, class, text)) = trouble(sending) {
                incidents.push((at, class, link(&format!("{text} request {}", sending.request))));
            }
        }
    }
    incidents.extend(run.notes.iter().map(|(at, note)| (*at, "note", Text(note).to_string())));
    incidents.sort_by_key(|(at, ..)| *at);
    if incidents.is_empty() {
        out.push_str("<p>No refusal, failure, stall or ban.</p>");
        return;
    }
    let total = incidents.len();
    let _ = write!(out, "<details open><summary>{total} incidents</summary><ol class=incidents>");
    for (at, class, text) in incidents.into_iter().take(200) {
        let at = at.saturating_duration_since(run.start);
        let _ = write!(out, "<li class={class}><time>{}</time> {}{text}", Seconds(at), symbol(class));
    }
    out.push_str("</ol></details>");
}

fn symbol(class: &str) -> &'static str {
    match class {
        "stall" => "<b class=stall>❚❚</b> ",
        "ban" => "<b class=ban>⛔</b> ",
        "refused" => "<b class=refused>✕</b> ",
        "failed" => "<b class=failed>!</b> ",
        _ => "",
    }
}

/// The time, kind and verb of a sending that brought no reply.
fn trouble(sending: &Sending) -> Option<(Instant, &'static str, &'static str)> {
    match (sending.end, sending.timed_out) {
        (Some((at, Ending::Failed(AttemptErrorKind::Refused))), _) => Some((at, "refused", "refused")),
        (Some((at, Ending::Failed(AttemptErrorKind::False))), _) => Some((at, "failed", "sent a false reply to")),
        (Some((at, Ending::Failed(AttemptErrorKind::Malformed))), _) => Some((at, "failed", "sent no message for")),
        (_, Some(at)) => Some((at, "failed", "timed out over")),
        (Some((at, Ending::Failed(_))), _) => Some((at, "failed", "left without an answer to")),
        _ => None,
    }
}

fn axis(out: &mut String, scale: &Scale) {
    out.push_str("<div class=axis>");
    for tenth in [0, 2, 4, 6, 8, 10] {
        let at = scale.length * f64::from(tenth) / 10.0;
        let _ = write!(out, "<span style=\"left:{}%\">{}</span>", tenth * 10, Seconds(Duration::from_secs_f64(at)));
    }
    out.push_str("</div>");
}

fn lane(out: &mut String, scale: &Scale, (number, index): (usize, usize), (id, peer): (&PeerId, &Peer), run: &Run) {
    let mut sendings: Vec<_> =
        run.sendings.iter().filter(|(send, _)| send.peer == *id).map(|(_, sending)| sending).collect();
    sendings.sort_by_key(|sending| sending.sent);
    let (rows, count) = rows(sendings.iter().map(|sending| (sending.sent, sending.last(run.end))));
    let replies = sendings.iter().filter(|sending| matches!(sending.end, Some((_, Ending::Reply)))).count();
    let bytes: u64 = sendings.iter().map(|sending| sending.bytes).sum();
    let refusals = sendings.iter().filter(|sending| trouble(sending).is_some_and(|(_, class, _)| class == "refused"));
    let _ = write!(
        out,
        "<h3 id=p{number}-{index}>{} <small>{replies} replies, {bytes} bytes, {} refusals, round trip {} ms{}</small></h3>\
         <div class=lane style=\"height:{}px\">",
        Text(&id.to_string()),
        refusals.count(),
        peer.round_trip.as_millis(),
        match &peer.gone {
            Some((_, Gone::Banned(_))) => ", <b class=ban>⛔ banned</b>",
            Some(_) => ", left",
            None => "",
        },
        14 * count.max(1)
    );
    for (sending, row) in sendings.iter().zip(rows) {
        bar(out, scale, sending, row, run.end);
    }
    for at in &peer.stalls {
        mark(out, scale, *at, "stall", "❚❚", "stalled");
    }
    match &peer.gone {
        Some((at, Gone::Banned(why))) => mark(out, scale, *at, "ban", "⛔", &format!("banned: {}", why.label())),
        Some((at, Gone::Left(why))) => mark(out, scale, *at, "left", "▏", &format!("left: {why}")),
        None => {}
    }
    out.push_str("</div>");
}

fn bar(out: &mut String, scale: &Scale, sending: &Sending, row: usize, run_end: Instant) {
    let end = sending.last(run_end);
    let head = sending.head.unwrap_or(sending.sent).clamp(sending.sent, end);
    let first = sending.first_byte.unwrap_or(end).clamp(head, end);
    let total = end.saturating_duration_since(sending.sent).as_secs_f64().max(1e-6);
    let share = |from: Instant, to: Instant| 100.0 * to.saturating_duration_since(from).as_secs_f64() / total;
    let outcome = match (sending.end, trouble(sending)) {
        (_, Some((_, _, text))) => text.to_owned(),
        (Some((_, Ending::Reply)), _) => format!("{} bytes", sending.bytes),
        (Some((_, Ending::Failed(kind))), _) => kind.label().to_owned(),
        (None, None) => "not ended".to_owned(),
    };
    let title = format!(
        "request {}{}: {outcome}\nsent at {}\nqueued {} ms, waited {} ms, transfer {} ms",
        sending.request,
        if sending.is_copy { ", second copy" } else { "" },
        Seconds(sending.sent.saturating_duration_since(scale.start)),
        head.saturating_duration_since(sending.sent).as_millis(),
        first.saturating_duration_since(head).as_millis(),
        end.saturating_duration_since(first).as_millis(),
    );
    let class = trouble(sending).map_or("", |(_, class, _)| class);
    let _ = write!(
        out,
        "<div class=\"bar {class}{}\" style=\"left:{:.3}%;width:{:.3}%;top:{}px\" title=\"{}\">\
         <i class=queue style=\"width:{:.1}%\"></i><i class=wait style=\"width:{:.1}%\"></i>\
         <i class=transfer style=\"width:{:.1}%\"></i>{}</div>",
        if sending.is_copy { " copy" } else { "" },
        scale.percent(sending.sent),
        100.0 * total / scale.length,
        14 * row,
        Text(&title),
        share(sending.sent, head),
        share(head, first),
        share(first, end),
        match class {
            "refused" => "<b>✕</b>",
            "failed" => "<b>!</b>",
            _ => "",
        }
    );
}

fn mark(out: &mut String, scale: &Scale, at: Instant, class: &str, symbol: &str, title: &str) {
    let at = scale.percent(at);
    let _ = write!(out, "<b class=\"mark {class}\" style=\"left:{at:.3}%\" title=\"{}\">{symbol}</b>", Text(title));
}

fn curve(out: &mut String, scale: &Scale, points: &[Point], name: &str, value: impl Fn(&Point) -> u64) {
    let most = points.iter().map(&value).max().unwrap_or_default();
    if most == 0 {
        return;
    }
    let (width, height) = CURVE;
    let _ = write!(
        out,
        "<h3>{name} <small>at most {most}</small></h3><svg viewBox=\"0 0 {width} {height}\" preserveAspectRatio=none \
         role=img aria-label=\"{name}\"><polyline points=\""
    );
    for point in points {
        let x = width / 100.0 * scale.percent(point.at);
        let y = height * (1.0 - value(point) as f64 / most as f64);
        let _ = write!(out, "{x:.1},{y:.1} ");
    }
    out.push_str("\"/></svg>");
}

/// The time that the width of the page stands for.
struct Scale {
    start: Instant,
    /// In seconds.
    length: f64,
}

impl Scale {
    fn percent(&self, at: Instant) -> f64 {
        (100.0 * at.saturating_duration_since(self.start).as_secs_f64() / self.length).min(100.0)
    }
}

impl Sending {
    /// The last that is known of it.
    fn last(&self, run_end: Instant) -> Instant {
        self.end.map_or(run_end, |(at, _)| at).max(self.sent)
    }
}

/// Text whose characters have no meaning in HTML.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            other => f.write_char(other),
        })
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s", self.0.as_secs_f64())
    }
}
