// SPDX-License-Identifier: Apache-2.0
// The measured numbers behind a finding, and the textbook's table of symptoms with them.
import type { Evidence as EvidenceData, Layer, Symptom } from "../source/types";
import { integer, measured, plural } from "../words";
import { layerName } from "./sentences";

export function Evidence({ evidence, layers }: { evidence: EvidenceData[]; layers: Layer[] }) {
  if (evidence.length === 0) return null;
  return (
    <details class="evidence">
      <summary>{plural(evidence.length, "measured number")}</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">what</th>
            <th scope="col">where</th>
            <th scope="col" class="figure">step</th>
            <th scope="col" class="figure">value</th>
          </tr>
        </thead>
        <tbody>
          {evidence.map((e, i) => (
            <tr key={i}>
              <th scope="row">{e.name.replaceAll("_", " ")}<small>{e.meaning}</small></th>
              <td><bdi>{layerName(layers, e.layer)}</bdi></td>
              <td class="figure">{integer(e.step)}</td>
              <td class="figure">{measured(e.value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

function Textbook({ name, text, speaks }: { name: string; text: string; speaks: boolean }) {
  return (
    <td role="cell" class={speaks ? "speaks" : ""}>
      <span class="symptom-name">{name}</span>
      {text}
      {speaks && <strong class="speaks-word"> ● speaks for it</strong>}
    </td>
  );
}

/** Roles are told because a narrow column stacks the cells. */
export function Symptoms({ symptoms }: { symptoms: Symptom[] }) {
  if (symptoms.length === 0) return null;
  return (
    <details class="symptoms">
      <summary>Exploding or vanishing? {plural(symptoms.length, "symptom")}</summary>
      <table role="table">
        <thead role="rowgroup">
          <tr role="row">
            <th role="columnheader" scope="col">measured here</th>
            <th role="columnheader" scope="col">exploding</th>
            <th role="columnheader" scope="col">vanishing</th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          {symptoms.map((s, i) => (
            <tr role="row" key={i}>
              <td role="cell" class="measured">{s.measured}</td>
              <Textbook name="exploding" text={s.exploding} speaks={s.speaks_for_exploding} />
              <Textbook name="vanishing" text={s.vanishing} speaks={s.speaks_for_vanishing} />
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
