import { Lanes } from "../film/Lanes";
import { Facts } from "./Facts";
import { Shares } from "./Shares";
import { drawn, useSession } from "./kept";

/** Two kept sessions side by side. */
export function Compare({ first, second }: { first: string; second: string }) {
  return (
    <div className="grid gap-4">
      <p className="m-0">
        <a href="#sessions">All kept sessions</a>
      </p>
      <div className="grid gap-4 md:grid-cols-2 [&>*]:min-w-0">
        <Side id={first} />
        <Side id={second} />
      </div>
      <Differences first={first} second={second} />
    </div>
  );
}

function Side({ id }: { id: string }) {
  const found = useSession(id);
  return (
    <section className="card" aria-label={found.data?.session.name ?? "Session"}>
      {found.isPending && <p role="status">Opening …</p>}
      {found.isError && <p role="alert">Not opened: {found.error.message}</p>}
      {found.data && (
        <>
          <h2 className="truncate">{found.data.session.name}</h2>
          <Shares shares={found.data.session.summary.shares} />
          <Lanes timeline={drawn(found.data.timeline)} />
          <Facts session={found.data.session} />
          {found.data.session.notes && <p className="whitespace-pre-wrap">{found.data.session.notes}</p>}
        </>
      )}
    </section>
  );
}

function Differences({ first, second }: { first: string; second: string }) {
  const [one, other] = [useSession(first).data?.session, useSession(second).data?.session];
  if (!one || !other) return null;
  const labels = [...new Set([...Object.keys(one.summary.shares), ...Object.keys(other.summary.shares)])];
  return (
    <section className="card overflow-x-auto" aria-labelledby="differences-title" tabIndex={0}>
      <h2 id="differences-title">Difference</h2>
      <table className="mt-2 w-full border-collapse text-sm">
        <thead>
          <tr>
            <th scope="col" className="py-1 pr-2 text-left">
              emotion
            </th>
            <th scope="col" className="whitespace-normal! py-1 pr-2 text-right align-bottom! [overflow-wrap:anywhere]">
              {one.name}
            </th>
            <th scope="col" className="whitespace-normal! py-1 pr-2 text-right align-bottom! [overflow-wrap:anywhere]">
              {other.name}
            </th>
            <th scope="col" className="py-1 text-right">
              points
            </th>
          </tr>
        </thead>
        <tbody className="tabular-nums">
          {labels.map((label) => {
            const [a, b] = [one.summary.shares[label] ?? 0, other.summary.shares[label] ?? 0];
            const points = Math.round(100 * (b - a));
            return (
              <tr key={label} className="border-t border-line">
                <th scope="row" className="py-1 pr-2 text-left font-normal">
                  {label}
                </th>
                <td className="py-1 pr-2 text-right">{Math.round(100 * a)} %</td>
                <td className="py-1 pr-2 text-right">{Math.round(100 * b)} %</td>
                <td className="py-1 text-right">{points > 0 ? `+${points}` : points}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}
