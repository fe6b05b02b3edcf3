import { useId, useState } from "react";
import { Recorder } from "./Recorder";

interface Props {
  onFilm: (file: File) => void;
}

/** A film dropped, chosen or recorded. */
export function Chooser({ onFilm }: Props) {
  const id = useId();
  const [over, setOver] = useState(false);
  return (
    <div className="grid gap-4 md:grid-cols-2">
      <section
        aria-labelledby={`${id}-title`}
        className={`card flex min-h-64 flex-col items-center justify-center gap-3 border-2 border-dashed text-center ${over ? "border-accent" : ""}`}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          const [file] = event.dataTransfer.files;
          if (file) onFilm(file);
        }}
      >
        <h2 id={`${id}-title`}>Drop a film here</h2>
        <label className="inline-flex min-h-10 cursor-pointer items-center rounded-lg border border-accent bg-accent px-4 py-1 font-semibold text-on-accent focus-within:outline-3 focus-within:outline-offset-2 focus-within:outline-accent">
          Choose a film
          <input
            type="file"
            className="sr-only"
            accept="video/*,audio/*"
            onChange={(event) => {
              const [file] = event.target.files ?? [];
              if (file) onFilm(file);
              event.target.value = "";
            }}
          />
        </label>
        <p className="quiet max-w-[40ch]">
          MP4, WebM, MOV or AVI, up to two hours. It goes to this server, is deleted there as soon as it is analysed, and
          plays from your own disk.
        </p>
      </section>
      <Recorder onFilm={onFilm} />
    </div>
  );
}
