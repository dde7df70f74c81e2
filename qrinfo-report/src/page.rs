//! The page: HTML without scripts or other files.
//!
//! Details of a bar or mark are in its `aria-label`. The style sheet shows that text at the lower edge of the window
//! while a pointer is on the bar, or after a tap or a tab key has given it the focus.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use qrinfo_core::PeerId;

use crate::{
    Report,
    incident::{Incident, Kind, incidents, of_peer, trouble},
    record::{Gone, Peer, Point, Run, Sending},
    rows::rows,
    text::{Bytes, Count, Seconds, Text},
};

const STYLE: &str = include_str!("style.css");

/// A curve is this wide and high, in units of its own.
const CURVE: (f64, f64) = (1000.0, 100.0);

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <title>qrinfo report</title><style>{STYLE}</style><h1>qrinfo report</h1>"
    );
    facts(&mut out, report);
    for (number, run) in report.runs.iter().enumerate() {
        section(&mut out, number, run);
    }
    if report.limits.missed > 0 {
        let _ = write!(out, "<p>{} events are not shown.</p>", report.limits.missed);
    }
    out
}

fn facts(out: &mut String, report: &Report) {
    out.push_str("<details open><summary>outcome</summary><table>");
    for (name, value) in &report.facts {
        let _ = write!(out, "<tr><th>{}<td>{}", Text(name), Text(value));
    }
    out.push_str("</table></details>");
}

fn section(out: &mut String, number: usize, run: &Run) {
    let _ = write!(out, "<section><h2>{}</h2>", Text(&run.title));
    list(out, number, run);
    out.push_str(LEGEND);
    let scale =
        Scale { start: run.start, length: run.end.saturating_duration_since(run.start).as_secs_f64().max(1e-3) };
    axis(out, &scale);
    for (index, (id, peer)) in run.peers.iter().enumerate() {
        lane(out, &scale, &format!("p{number}-{index}"), (*id, peer), run);
    }
    curve(out, &scale, &run.curve, "received", |point| point.bytes);
    curve(out, &scale, &run.curve, "memory", |point| 1024 * point.memory_kib);
    out.push_str("</section>");
}

const LEGEND: &str = "<p class=legend><span><i class=queue></i>queued at the peer</span> \
    <span><i class=wait></i>waiting for the reply</span> <span><i class=transfer></i>transfer</span> \
    <span><i class=copy></i>second copy</span> <span><i class=refused>×</i>refused</span> \
    <span><i class=false>!</i>false reply</span> <span><i class=timeout>…</i>timed out</span> \
    <span><i class=cut></i>cut off with the connection</span></p>";

/// Everything out of the ordinary, in the order of time, with links to its lane.
fn list(out: &mut String, number: usize, run: &Run) {
    let incidents = incidents(run);
    if incidents.is_empty() && run.notes.is_empty() {
        out.push_str("<p>No refusal, timeout, false reply, stall or ban.</p>");
        return;
    }
    out.push_str("<ol class=incidents>");
    for incident in &incidents {
        let lane = run.peers.keys().position(|peer| *peer == incident.peer).unwrap_or_default();
        let _ = write!(
            out,
            "<li><time>{}</time> {} <span><a href=\"#p{number}-{lane}\">{}</a> {}</span>",
            period(run, incident),
            Badge(incident),
            Text(&incident.peer.to_string()),
            Text(&incident.text)
        );
    }
    for (at, note) in &run.notes {
        let at = Seconds(at.saturating_duration_since(run.start));
        let _ = write!(out, "<li><time>{at}</time> <b class=\"badge note\">note</b> <span>{}</span>", Text(note));
    }
    out.push_str("</ol>");
}

/// The times of an incident.
fn period(run: &Run, incident: &Incident) -> String {
    let [first, last] = [incident.first, incident.last].map(|at| at.saturating_duration_since(run.start));
    match Seconds(first).to_string() == Seconds(last).to_string() {
        true => Seconds(first).to_string(),
        false => format!("{:.2} to {}", first.as_secs_f64(), Seconds(last)),
    }
}

/// The kind of an incident as a word on its colour.
struct Badge<'a>(&'a Incident);

impl std::fmt::Display for Badge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Incident { kind, count, .. } = self.0;
        write!(f, "<b class=\"badge {}\">{}</b>", kind.class(), Count(*count, kind.noun()))
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

fn lane(out: &mut String, scale: &Scale, link: &str, (id, peer): (PeerId, &Peer), run: &Run) {
    let sendings: Vec<_> = run.sendings_of(id).collect();
    let (rows, count) = rows(sendings.iter().map(|sending| (sending.sent, sending.last(run.end))));
    let replies = sendings.iter().filter(|sending| matches!(sending.end, Some((_, Ok(()))))).count();
    let bytes: u64 = sendings.iter().map(|sending| sending.bytes).sum();
    let _ = write!(
        out,
        "<h3 id={link}>{} <small>{}, {}, round trip {} ms</small>",
        Text(&id.to_string()),
        Count(replies, "reply"),
        Bytes(bytes),
        peer.round_trip.as_millis(),
    );
    let incidents = of_peer(run, id);
    for incident in &incidents {
        let _ = write!(out, " {}", Badge(incident));
    }
    let _ = write!(out, "</h3><div class=lane style=\"--rows:{}\">", count.max(1));
    for (sending, row) in sendings.iter().zip(rows) {
        bar(out, scale, sending, row, run.end);
    }
    for at in &peer.stalls {
        mark(out, scale, *at, Kind::Stall, "stalled: its requests went to other peers as well");
    }
    match &peer.gone {
        Some((at, Gone::Banned(why))) => mark(out, scale, *at, Kind::Ban, &format!("banned, because it {why}")),
        Some((at, Gone::Left(why))) => mark(out, scale, *at, Kind::Left, &format!("left: {why}")),
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
    let trouble = trouble(sending).map(|(_, kind)| kind);
    let class = match trouble {
        Some(kind) => kind.class(),
        None if sending.is_cut_off() => "cut",
        None => "",
    };
    let _ = write!(
        out,
        "<div class=\"bar {class}{}\" style=\"left:{:.3}%;width:{:.3}%;--row:{row}\" tabindex=0 role=img \
         aria-label=\"{}\"><i class=queue style=\"width:{:.1}%\"></i><i class=wait style=\"width:{:.1}%\"></i>\
         <i class=transfer style=\"width:{:.1}%\"></i>{}</div>",
        if sending.is_copy { " copy" } else { "" },
        scale.percent(sending.sent),
        100.0 * total / scale.length,
        Text(&details(scale, sending, [head, first, end])),
        share(sending.sent, head),
        share(head, first),
        share(first, end),
        trouble.map_or(String::new(), |kind| format!("<b>{}</b>", kind.sign()))
    );
}

/// All about a bar, in words.
fn details(scale: &Scale, sending: &Sending, [head, first, end]: [Instant; 3]) -> String {
    let outcome = match (trouble(sending), sending.end) {
        (Some((_, kind)), _) => kind.noun().to_owned(),
        (None, Some((_, Ok(())))) => Bytes(sending.bytes).to_string(),
        (None, Some((_, Err(why)))) => why.to_string(),
        (None, None) => "no end seen".to_owned(),
    };
    let milliseconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_millis();
    format!(
        "request {}{}: {outcome}\nsent at {}\nqueued {} ms, waited {} ms, transfer {} ms",
        sending.request,
        if sending.is_copy { ", second copy" } else { "" },
        Seconds(sending.sent.saturating_duration_since(scale.start)),
        milliseconds(sending.sent, head),
        milliseconds(head, first),
        milliseconds(first, end),
    )
}

/// A line across a lane, with the name of its kind on the side that has room.
fn mark(out: &mut String, scale: &Scale, at: Instant, kind: Kind, text: &str) {
    let percent = scale.percent(at);
    let side = match percent < 50.0 {
        true => format!("left:{percent:.3}%"),
        false => format!("right:{:.3}%", 100.0 - percent),
    };
    let at = Seconds(at.saturating_duration_since(scale.start));
    let side_class = if percent < 50.0 { "" } else { " before" };
    let _ = write!(
        out,
        "<b class=\"mark {}{side_class}\" style=\"{side}\" tabindex=0 role=img aria-label=\"{text}\nat {at}\"><span>{}</span></b>",
        kind.class(),
        kind.word(),
        text = Text(text),
    );
}

fn curve(out: &mut String, scale: &Scale, points: &[Point], name: &str, value: impl Fn(&Point) -> u64) {
    let most = points.iter().map(&value).max().unwrap_or_default();
    if most == 0 {
        return;
    }
    let (width, height) = CURVE;
    let _ = write!(
        out,
        "<h3>{name} <small>up to {}</small></h3><svg viewBox=\"0 0 {width} {height}\" preserveAspectRatio=none \
         role=img aria-label=\"{name} over time\"><polyline points=\"",
        Bytes(most)
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
