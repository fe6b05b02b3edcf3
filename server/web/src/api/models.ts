// Which models the server has, asked until it answers.
import { useQuery } from "@tanstack/react-query";
import { Refused, client, given } from "./client";
import { useApiKey } from "./key";

export function useModels() {
  const key = useApiKey();
  const models = useQuery({
    queryKey: ["models", key],
    queryFn: async () => given(await client.GET("/v1/models")).models,
    // A server that starts, or starts again, is asked until it answers.
    // One that refuses is not: only another key changes that.
    refetchInterval: ({ state: { data, error } }) =>
      error instanceof Refused && error.status < 500 ? false : !error && data?.length ? 30_000 : 2_000,
  });
  return { ...models, labels: [...new Set((models.data ?? []).flatMap((model) => model.labels))] };
}
