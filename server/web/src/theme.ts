// The colours of the policy that the server adapts by, on the whole page.
import { useQuery } from "@tanstack/react-query";
import { useEffect, useSyncExternalStore } from "react";
import { Refused, client, given } from "./api/client";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

/** Dress the page in a theme; in its own colours where there is none. */
export function useTheme(theme: string | undefined, key: string): void {
  const isDark = useSyncExternalStore(
    (changed) => {
      dark.addEventListener("change", changed);
      return () => dark.removeEventListener("change", changed);
    },
    () => dark.matches,
  );
  const policy = useQuery({
    queryKey: ["adaptation", key],
    queryFn: async () => given(await client.GET("/v1/adaptation")),
    staleTime: Number.POSITIVE_INFINITY,
    retry: (_, error) => !(error instanceof Refused),
    retryDelay: 2_000,
  });
  const colours = theme ? policy.data?.themes[theme]?.[isDark ? "dark" : "light"] : undefined;
  useEffect(() => {
    const style = document.documentElement.style;
    for (const name of ["background", "text", "accent"] as const) {
      if (colours) style.setProperty(`--${name}`, colours[name]);
      else style.removeProperty(`--${name}`);
    }
    if (theme) document.documentElement.dataset["theme"] = theme;
    else delete document.documentElement.dataset["theme"];
  }, [colours, theme]);
}
