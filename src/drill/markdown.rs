use std::fmt::Write;

use crate::model::Size;

use super::Evidence;

/// A record for a person to read, with everything an auditor asks for first.
pub fn markdown(evidence: &Evidence) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    write_all(&mut text, evidence).unwrap_or_default();
    text
}

fn write_all(out: &mut String, evidence: &Evidence) -> std::fmt::Result {
    let time = |at: &crate::model::Timestamp| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    writeln!(
        out,
        "# Restore drill `{}` of {}: {}\n",
        plain(&evidence.drill),
        evidence.project,
        evidence.outcome
    )?;
    for reason in &evidence.because {
        writeln!(out, "- {}", plain(reason))?;
    }
    if !evidence.because.is_empty() {
        out.push('\n');
    }
    let mut rows: Vec<(&str, String)> = vec![
        ("Operation", evidence.operation.to_string()),
        ("Triggered by", evidence.by.clone()),
        ("Began", time(&evidence.started)),
        ("Ended", time(&evidence.ended)),
    ];
    if let Some(snapshot) = &evidence.snapshot {
        rows.push((
            "Snapshot",
            format!("{} {} of {}", snapshot.set, snapshot.generation, time(&snapshot.taken)),
        ));
        rows.push(("Store", snapshot.store.clone()));
        rows.push(("Manifest", format!("{} {}", snapshot.manifest, snapshot.header.sha256)));
        rows.push(("Manifest signed by", snapshot.signer.clone()));
        rows.push(("Objects", snapshot.objects.len().to_string()));
    }
    if let Some(restored) = &evidence.restored {
        rows.push((
            "Restored",
            format!("{} files, {}", restored.files, Size(restored.bytes)),
        ));
    }
    rows.push(("RTO", evidence.rto.to_string()));
    rows.push(("RPO", evidence.rpo.to_string()));
    rows.push(("Tool", evidence.tools.arkwright.clone()));
    rows.push((
        "Engine",
        format!("{}, {}", evidence.tools.engine, evidence.tools.architecture),
    ));
    rows.push(("Evidence signed by", evidence.tools.key.clone()));
    if let Some(previous) = &evidence.previous {
        rows.push(("Record before", format!("{} {}", previous.operation, previous.sha256)));
    }
    out.push_str("| | |\n|---|---|\n");
    for (label, value) in rows {
        writeln!(out, "| {label} | {} |", cell(&value))?;
    }

    out.push_str("\n## Checks\n\n| | check | expected | actual | why |\n|---|---|---|---|---|\n");
    for check in &evidence.checks {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            check.verdict.word(),
            cell(&check.name),
            cell(&check.expected),
            cell(&check.actual),
            cell(check.why.as_deref().unwrap_or_default())
        )?;
    }

    out.push_str("\n## Time by stage\n\n| stage | took |\n|---|---|\n");
    for timing in &evidence.stages {
        writeln!(out, "| {} | {} |", timing.stage, timing.took.human())?;
    }

    if !evidence.images.is_empty() {
        out.push_str("\n## Images\n\n| service | reference | id | from |\n|---|---|---|---|\n");
        for image in &evidence.images {
            writeln!(
                out,
                "| {} | {} | {} | {} |",
                image.service,
                cell(&image.reference),
                cell(image.id.as_deref().unwrap_or("none")),
                cell(&image.from)
            )?;
        }
    }

    if !evidence.deviations.is_empty() {
        out.push_str("\n## Deviations from a recovery\n\n");
        for deviation in &evidence.deviations {
            writeln!(out, "- {}", plain(deviation))?;
        }
    }
    Ok(())
}

/// One line; nothing in it is read as a table or as code.
fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|")
}

fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .flat_map(|c| match c {
            '<' => "&lt;".chars().collect::<Vec<_>>(),
            '`' => vec!['\''],
            other => vec![other],
        })
        .collect()
}
