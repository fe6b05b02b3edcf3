import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { given } from "../api/client";
import { type Round, consoleClient } from "../console/api";
import { bytes, seconds } from "../console/words";

/** Who took part, by name and labels; asked for once somebody wants to know. */
export function Participants({ run, round }: { run: string; round: Round }) {
  const [wanted, setWanted] = useState(false);
  const { round: number, attempt } = round;
  const found = useQuery({
    queryKey: ["console", "fleet", "participants", run, number, attempt, round.state, round.devices],
    queryFn: async () =>
      given(
        await consoleClient.GET("/v1/console/fleet/runs/{run_id}/rounds/{number}/{attempt}", {
          params: { path: { run_id: run, number, attempt } },
        }),
      ).participants,
    enabled: wanted,
    placeholderData: (before) => before,
  });
  if (!wanted) {
    return (
      <button type="button" onClick={() => setWanted(true)}>
        Who took part
      </button>
    );
  }
  if (!found.data) return <p className="quiet">{found.isError ? found.error.message : "Asking …"}</p>;
  return (
    <table className="rows">
      <caption className="quiet text-left">Devices of round {number}</caption>
      <thead>
        <tr>
          <th scope="col">Device</th>
          <th scope="col">Labels</th>
          <th scope="col">Outcome</th>
          <th scope="col">Time</th>
          <th scope="col">Up, down</th>
          <th scope="col">Why</th>
        </tr>
      </thead>
      <tbody>
        {found.data.map((each) => (
          <tr key={each.device}>
            <th scope="row">{each.name}</th>
            <td data-name="labels">{[each.group, ...each.labels].filter(Boolean).join(", ")}</td>
            <td data-name="outcome">
              {each.state}
              {each.straggler && ", late"}
            </td>
            <td data-name="time">{seconds(each.seconds)}</td>
            <td data-name="up, down">
              {bytes(each.bytes_up)}, {bytes(each.bytes_down)}
            </td>
            <td data-name="why">{each.reason}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
