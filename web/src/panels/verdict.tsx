// SPDX-License-Identifier: Apache-2.0
// The run in one sentence, and the few numbers that it is judged by.
import type { Findings } from "../source/types";
import { type Mark, SeverityMark, Title } from "./marks";
import { asNumber, bytes, duration, integer, measured, percent, plural } from "../words";
import { endWords, healthyText, healthyTitle, lossFell, openRoots, sentence } from "./sentences";

const SHORT_RUN = 10; // seconds

interface Fact {
  label: string;
  value: string;
  note?: string;
}

function lossFacts({ loss }: Findings): Fact[] {
  const facts: Fact[] = [{ label: "loss now", value: measured(loss.last, 4) }];
  if (asNumber(loss.trivial) !== null)
    facts.push({ label: "by guessing", value: measured(loss.trivial, 4) });
  if (asNumber(loss.best) !== null) facts.push({ label: "best", value: measured(loss.best, 4) });
  return facts;
}

/** Of a run of seconds the share is mostly that of the first steps, which are all looked at. */
function watchingFact({ watching }: Findings): Fact[] {
  if (!watching || !(watching.run_seconds > 0)) return [];
  const { watch_seconds, run_seconds, full_steps, light_steps } = watching;
  const short = run_seconds < SHORT_RUN;
  const full = light_steps > 0 ? `${integer(full_steps)} of ${integer(full_steps + light_steps)} steps in full` : "";
  const seconds = short ? "" : `${duration(watch_seconds)} of ${duration(run_seconds)}`;
  return [{
    label: "watching took",
    value: short ? duration(watch_seconds) : percent(watch_seconds / run_seconds),
    note: [seconds, full].filter(Boolean).join(", "),
  }];
}

function damageFact({ damage }: Findings): Fact[] {
  if (!damage || damage.damaged_places + damage.lost_records === 0) return [];
  return [{
    label: "log damaged",
    value: plural(damage.damaged_places, "place"),
    note: `${plural(damage.lost_records, "record")} lost, ${bytes(damage.lost_bytes)}`,
  }];
}

function factsOf(findings: Findings, live: boolean, readFraction: number): Fact[] {
  const facts: Fact[] = [{ label: "steps", value: integer(findings.steps.records),
    note: endWords(findings.end, live) }];
  if (findings.steps.records > 0) facts.push(...lossFacts(findings));
  if (readFraction < 1) facts.push({ label: "log read", value: percent(readFraction),
    note: "more may be found" });
  return [...facts, ...damageFact(findings), ...watchingFact(findings)];
}

/** What silence does not speak of. */
function NotJudged({ findings }: { findings: Findings }) {
  const problems = findings.not_judged ?? []; // a document of before has none
  const missing = findings.not_observed;
  if (problems.length === 0 && !missing && !findings.ignored) return null;
  const n = problems.length;
  const title = n > 0 ? `${plural(n, "problem")} could not be judged`
    : missing ? "Not everything was recorded" : `${plural(findings.ignored, "finding")} ignored`;
  return (
    <details class="not-judged">
      <summary>{title}</summary>
      {missing && <p>Not in the log: {missing}.</p>}
      {n > 0 && (
        <ul>
          {problems.map((p) => (
            <li key={p.problem}><code>{p.problem}</code> lacks {p.missing}</li>
          ))}
        </ul>
      )}
      {findings.ignored > 0 && n > 0 && <p>{plural(findings.ignored, "finding")} ignored, as asked.</p>}
    </details>
  );
}

function Sentence({ mark, word, title }: { mark: Mark; word: string; title: string }) {
  return (
    <div class="verdict-line">
      <SeverityMark mark={mark} />
      <h1 class="verdict-title">
        {word && <span class={`verdict-word ink-${mark}`}>{word}<span class="hidden">: </span></span>}
        <Title text={title} />
      </h1>
    </div>
  );
}

function Sick({ findings }: { findings: Findings }) {
  const [worst, ...more] = openRoots(findings);
  if (!worst) return null;
  return (
    <>
      <Sentence mark={worst.severity} word={worst.severity}
        title={sentence(worst.title, findings.network.layers)} />
      {more.length > 0 && <p class="verdict-more">and {plural(more.length, "more finding")}</p>}
    </>
  );
}

function Healthy({ findings, readFraction }: { findings: Findings; readFraction: number }) {
  const sure = readFraction >= 1 && lossFell(findings);
  return (
    <>
      <Sentence mark={sure ? "good" : "unknown"} word=""
        title={healthyTitle(findings, readFraction)} />
      <p class="verdict-more">{healthyText(findings)}</p>
    </>
  );
}

export interface VerdictProps {
  findings: Findings;
  live: boolean;
  readFraction: number; // of the log
}

export function Verdict({ findings, live, readFraction }: VerdictProps) {
  const sick = findings.findings.some((f) => f.open);
  return (
    <div class={`verdict ${sick ? "verdict-sick" : "verdict-quiet"}`}>
      {sick ? <Sick findings={findings} /> : <Healthy findings={findings} readFraction={readFraction} />}
      <dl class="facts">
        {factsOf(findings, live, readFraction).map((fact) => (
          <div key={fact.label}>
            <dt>{fact.label}</dt>
            <dd>{fact.value}{fact.note && <small>{fact.note}</small>}</dd>
          </div>
        ))}
      </dl>
      <NotJudged findings={findings} />
    </div>
  );
}
