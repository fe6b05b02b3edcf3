import { useState } from "react";
import { given } from "../api/client";
import { Outcome, useAct } from "../console/Act";
import { type Device, type Fleet, consoleClient } from "../console/api";
import { moment } from "../console/words";
import { Dialog } from "../ui/Dialog";

const MOST = 200;

/** Devices, those first that wait for somebody to let them in. */
export function Devices({ fleet, acts }: { fleet: Fleet; acts: boolean }) {
  const [refusing, setRefusing] = useState<Device>();
  const approve = useAct(async (devices: string[]) =>
    given(await consoleClient.POST("/v1/console/devices/approve", { body: { devices } })),
  );
  const refuse = useAct(async (device: string) =>
    given(await consoleClient.POST("/v1/console/devices/refuse", { body: { device, reason: "" } })),
  );
  const waiting = fleet.devices.filter((device) => device.status === "waiting");
  const others = fleet.devices.filter((device) => device.status !== "waiting");
  return (
    <div className="grid gap-4">
      <section aria-label="Devices that wait">
        <h2>Waiting for approval</h2>
        {waiting.length === 0 && <p className="quiet">No device waits.</p>}
        {waiting.length > 0 && !acts && <p role="status">You may look. Operators approve devices.</p>}
        <ul className="list-none p-0">
          {waiting.map((device) => (
            <li key={device.id} className="row border-b border-line py-2">
              <span>
                <strong>{device.name}</strong>{" "}
                <span className="quiet">
                  {[device.group, device.modalities.join(", "), `since ${moment(device.enrolled)}`].filter(Boolean).join("; ")}
                </span>
              </span>
              {acts && (
                <span className="flex gap-2">
                  <button type="button" className="primary" onClick={() => approve.mutate([device.id])}>
                    Approve <span className="sr-only">{device.name}</span>
                  </button>
                  <button type="button" onClick={() => setRefusing(device)}>
                    Refuse <span className="sr-only">{device.name}</span>
                  </button>
                </span>
              )}
            </li>
          ))}
        </ul>
        <Outcome act={approve} />
        <Outcome act={refuse} />
      </section>
      <section aria-label="Devices of the fleet">
        <h2>Devices</h2>
        {others.length === 0 ? (
          <p>
            No device takes part yet. Make a token for one: <code>fedaffect fleet token</code>
          </p>
        ) : (
          <table className="rows">
            <caption className="quiet text-left">
              {others.length} devices{others.length > MOST && `, the first ${MOST} of them`}
            </caption>
            <thead>
              <tr>
                <th scope="col">Device</th>
                <th scope="col">State</th>
                <th scope="col">Group, labels</th>
                <th scope="col">Streams</th>
                <th scope="col">Consent</th>
                <th scope="col">ε so far</th>
                <th scope="col">Last seen</th>
              </tr>
            </thead>
            <tbody>
              {others.slice(0, MOST).map((device) => (
                <tr key={device.id}>
                  <th scope="row">{device.name}</th>
                  <td data-name="state">{state(device)}</td>
                  <td data-name="group, labels">{[device.group, ...device.labels].filter(Boolean).join(", ")}</td>
                  <td data-name="streams">{device.modalities.join(", ")}</td>
                  <td data-name="consent">{device.consent ? "yes" : "no"}</td>
                  <td data-name="ε so far">{device.epsilon?.toFixed(2)}</td>
                  <td data-name="last seen">{moment(device.last_seen)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </section>
      <Dialog
        title={`Refuse ${refusing?.name ?? ""}?`}
        about="It stays out: its key never counts again. To come in it has to enrol anew, with another token."
        open={refusing !== undefined}
        onClose={() => setRefusing(undefined)}
      >
        <button type="button" onClick={() => setRefusing(undefined)}>
          Let it wait
        </button>
        <button
          type="button"
          className="primary"
          onClick={() => {
            if (refusing) refuse.mutate(refusing.id);
            setRefusing(undefined);
          }}
        >
          Refuse it
        </button>
      </Dialog>
    </div>
  );
}

function state(device: Device): string {
  if (device.status === "revoked") return "revoked";
  return device.online === null ? "enrolled" : device.online ? "online" : "offline";
}
