import { useQueries, useQuery } from "@tanstack/react-query";
import { Refused, given } from "../api/client";
import { Curve } from "../console/Curve";
import { type RecordedRunDetail, consoleClient } from "../console/api";
import { FIGURES, share } from "../console/words";
import { runAddress } from "./RunFolders";

/** Runs side by side: figures, curves in one place, and whether a difference is more than chance. */
export function Compared({ names }: { names: readonly string[] }) {
  const compared = useQuery({
    queryKey: ["console", "research", "compare", ...names],
    queryFn: async () => given(await consoleClient.POST("/v1/console/research/compare", { body: { runs: [...names] } })).comparisons,
    retry: (count, error) => !(error instanceof Refused) && count < 3,
  });
  const runs = useQueries({
    queries: names.map((name) => ({
      queryKey: ["console", "research", "run", name],
      queryFn: async () => given(await consoleClient.GET("/v1/console/research/run", { params: { query: { name } } })),
    })),
  }).flatMap(({ data }) => (data ? [data] : []));
  return (
    <div className="grid gap-4">
      <p className="m-0">
        <a href="#research">All runs</a>
      </p>
      {runs.length > 1 && <SideBySide runs={runs} />}
      {compared.isPending && <p role="status">Testing whether the differences are more than chance …</p>}
      {compared.isError && <p role="alert">{compared.error.message}</p>}
      {compared.data?.map((each) => (
        <section key={each.title} aria-label={each.title}>
          <h2>{each.title}</h2>
          <p>
            <strong>{each.verdict}</strong>
          </p>
          <div className="overflow-x-auto" tabIndex={0} role="region" aria-label={`${each.title}, tests`}>
            <table className="rows">
              <thead>
                <tr>
                  {each.headings.map((heading) => (
                    <th key={heading} scope="col">
                      {heading}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {each.rows.map((row, place) => (
                  <tr key={place}>
                    {row.map((cell, at) => (
                      <td key={at} data-name={cell && each.headings[at]}>
                        {cell}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      ))}
    </div>
  );
}

function SideBySide({ runs }: { runs: RecordedRunDetail[] }) {
  const x = [...new Set(runs.flatMap(({ rounds }) => rounds.map(({ round }) => round)))].sort((a, b) => a - b);
  const figures = Object.keys(FIGURES).filter((name) => runs.some(({ run }) => run.test?.[name] !== undefined));
  const settings = differing(runs);
  return (
    <>
      <Curve
        title="UAR on the development split"
        x={x}
        lines={runs.map(({ run, rounds }) => {
          const by = new Map(rounds.map(({ round, dev }) => [round, dev?.["uar"] ?? null]));
          return { name: run.name, values: x.map((round) => by.get(round) ?? null) };
        })}
      />
      <div className="overflow-x-auto" tabIndex={0} role="region" aria-label="Figures side by side">
        <table>
          <caption className="quiet text-left">Test figures, and settings that differ</caption>
          <thead>
            <tr>
              <td />
              {runs.map(({ run }) => (
                <th key={run.name} scope="col">
                  <a href={runAddress(run.name)}>{run.name}</a>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {figures.map((name) => (
              <tr key={name}>
                <th scope="row">{FIGURES[name]}</th>
                {runs.map(({ run }) => (
                  <td key={run.name}>{run.test?.[name] === undefined ? "–" : share(run.test[name])}</td>
                ))}
              </tr>
            ))}
            {settings.map((name) => (
              <tr key={`setting ${name}`}>
                <th scope="row">{name}</th>
                {runs.map(({ run, settings: given }) => (
                  <td key={run.name}>{said(given[name])}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

const said = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value) ?? "–");

function differing(runs: RecordedRunDetail[]): string[] {
  const names = [...new Set(runs.flatMap(({ settings }) => Object.keys(settings)))];
  return names.filter((name) => name !== "name" && name !== "out" && new Set(runs.map(({ settings }) => said(settings[name]))).size > 1);
}
