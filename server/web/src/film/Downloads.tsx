import { useMutation } from "@tanstack/react-query";
import { client, given } from "../api/client";

const FILES = [
  { name: "Table (CSV)", ending: "csv", kind: "text/csv" },
  { name: "All of it (JSON)", ending: "json", kind: "application/json" },
  { name: "Subtitles (WebVTT)", ending: "vtt", kind: "text/vtt" },
] as const;

async function fetched(film_id: string, ending: (typeof FILES)[number]["ending"]): Promise<string> {
  const params = { params: { path: { film_id } } };
  if (ending === "json") return JSON.stringify(given(await client.GET("/v1/films/{film_id}/timeline", params)), null, 1);
  if (ending === "csv")
    return given(await client.GET("/v1/films/{film_id}/timeline.csv", { ...params, parseAs: "text" }));
  return given(await client.GET("/v1/films/{film_id}/subtitles.vtt", { ...params, parseAs: "text" }));
}

/** The timeline as files. A key is sent in a header, so a plain link would not do. */
export function Downloads({ film_id, name }: { film_id: string; name: string }) {
  const saving = useMutation({
    mutationFn: async ({ ending, kind }: (typeof FILES)[number]) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([await fetched(film_id, ending)], { type: kind }));
      link.download = `${name.replace(/\.[^.]*$/, "")}.${ending}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    },
  });
  return (
    <div>
      <div className="row start">
        {FILES.map((file) => (
          <button key={file.ending} type="button" disabled={saving.isPending} onClick={() => saving.mutate(file)}>
            {file.name}
          </button>
        ))}
      </div>
      {saving.isError && <p role="alert">Not saved: {saving.error.message}</p>}
    </div>
  );
}
