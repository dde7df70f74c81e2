//! Verdicts, as text for people and as JSON for programs.

use std::{
    io::{self, Write},
    path::Path,
};

use serde_json::json;

use super::judgement::Judgement;
use crate::depth::Depth;

pub(super) fn write_json(out: &mut impl Write, file: &Path, level: Depth, judgement: &Judgement) -> io::Result<()> {
    let value = json!({
        "file": file.display().to_string(),
        "verdict": judgement.verdict.name(),
        "reason": judgement.reason,
        "level": level.name(),
        "unproven": judgement.unproven,
        "rotated_quorums": judgement.proven.rotated_quorums,
        "quorums_with_members": judgement.proven.quorums_with_members,
        "signatures": judgement.proven.signatures,
    });
    writeln!(out, "{value}")
}

pub(super) fn write_text(out: &mut impl Write, file: &Path, level: Depth, judgement: &Judgement) -> io::Result<()> {
    let (verdict, level, file) = (judgement.verdict.name(), level.name(), file.display());
    match &judgement.reason {
        Some(reason) => writeln!(out, "{file}: {verdict} at level {level}: {reason}")?,
        None => {
            let proven = &judgement.proven;
            writeln!(
                out,
                "{file}: {verdict} at level {level}\n  proven: {} rotated quorums, {} quorums with members, {} signatures",
                proven.rotated_quorums, proven.quorums_with_members, proven.signatures
            )?;
        }
    }
    judgement.unproven.iter().try_for_each(|part| writeln!(out, "  not proven: {part}"))
}
