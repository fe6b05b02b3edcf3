import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Refused, given } from "../api/client";
import { consoleClient, type Me } from "./api";
import { useForget, useMe } from "./me";

/** Shows what operators and viewers may see to those who may see it, and a login to others, in the same place. */
export function Door({ children }: { children: (me: Me) => ReactNode }) {
  const me = useMe();
  if (!me.data) {
    return me.isError ? (
      <p role="alert">The server cannot be reached. This page goes on trying.</p>
    ) : (
      <p className="quiet">Asking who you are …</p>
    );
  }
  return (
    <>
      {me.isError && <p role="alert">The server cannot be reached. This page goes on trying; what you see is older.</p>}
      {me.data.may_look ? (
        <>
          <Account me={me.data} />
          {children(me.data)}
        </>
      ) : (
        <LoginForm me={me.data} />
      )}
    </>
  );
}

function Account({ me }: { me: Me }) {
  const forget = useForget();
  const logOut = useMutation({
    mutationFn: async () => given(await consoleClient.POST("/v1/console/logout")),
    onSettled: forget,
  });
  if (!me.user) {
    return (
      <details className="card mb-4">
        <summary>Nobody has an account yet: everybody on this machine may look, and nobody may act</summary>
        <p>
          Make the first account on the server’s machine, then log in here: <code>{me.first_account}</code>. From then on
          looking needs an account too.
        </p>
      </details>
    );
  }
  return (
    <p className="row mt-0 mb-2">
      <span>
        {me.user.name} <span className="quiet">({me.user.role})</span>
      </span>
      <button type="button" onClick={() => logOut.mutate()} disabled={logOut.isPending}>
        Log out
      </button>
    </p>
  );
}

function LoginForm({ me }: { me: Me }) {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const forget = useForget();
  const logIn = useMutation({
    mutationFn: async () => given(await consoleClient.POST("/v1/console/login", { body: { name, password } })),
    onSuccess: forget,
    onSettled: () => setPassword(""),
  });
  return (
    <form
      className="card mx-auto grid max-w-96 gap-2"
      onSubmit={(event) => {
        event.preventDefault();
        logIn.mutate();
      }}
    >
      <h2>Log in</h2>
      {me.expired && !logIn.isError && (
        <p role="status">Your login ran out or was ended. Log in again; you come back to where you were.</p>
      )}
      {!me.accounts && (
        <p>
          Nobody has an account yet. Make one on the server’s machine: <code>{me.first_account}</code>
        </p>
      )}
      {logIn.isError && (
        <p role="alert">{logIn.error instanceof Refused ? logIn.error.message : "The server does not answer; try again."}</p>
      )}
      <label htmlFor="account">Account</label>
      <input
        id="account"
        autoComplete="username"
        autoCapitalize="none"
        required
        maxLength={64}
        value={name}
        onChange={(event) => setName(event.target.value)}
      />
      <label htmlFor="password">Password</label>
      <input
        id="password"
        type="password"
        autoComplete="current-password"
        required
        value={password}
        onChange={(event) => setPassword(event.target.value)}
      />
      <button type="submit" className="primary" disabled={logIn.isPending}>
        Log in
      </button>
      <p className="quiet">Accounts are for people. An API key opens predictions alone, and is not asked for here.</p>
    </form>
  );
}
