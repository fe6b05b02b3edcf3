// Made by `npm run api` of the description with SHA-256 971cbf61e30c52d0486df2273b68a7d42a8c40998a46e6366f931159fe0b836a
export interface paths {
    "/livez": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Livez
         * @description Whether the process runs; without a key.
         */
        get: operations["livez"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Metrics
         * @description Counters and histograms for Prometheus, which tell how busy whose service is: a key with that scope.
         */
        get: operations["metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Readyz
         * @description Whether a request would be answered now; without a key.
         */
        get: operations["readyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/adaptation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How apps are told to adapt: colours of the themes, speeds, languages */
        get: operations["adaptation_policy"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/bundles/{version}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Bundle
         * @description A bundle's tar; the version `latest` is the newest on offer. The ETag is its SHA-256.
         */
        get: operations["bundle"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/bundles/{version}/files/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Bundle File
         * @description One file of the bundle that runs in browsers, compressed where the caller takes gzip.
         *
         *     `latest` is the newest on offer, or the server's own where none is; its `manifest.json` names the files and
         *     their hashes. Only what it takes to answer is given, not what it takes to learn.
         */
        get: operations["bundle_file"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/feedback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** What the user said it really was; delivered as often as it takes, taken once */
        post: operations["give_feedback"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/films": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begin to send a film */
        post: operations["begin_film"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/films/{film_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How a film stands */
        get: operations["film_state"];
        put?: never;
        post?: never;
        /** Give a film up and forget it */
        delete: operations["forget_film"];
        options?: never;
        head?: never;
        /** Send the next bytes of a film; what came is confirmed also where the connection ends */
        patch: operations["append_to_film"];
        trace?: never;
    };
    "/v1/films/{film_id}/subtitles.vtt": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Words and emotions as WebVTT */
        get: operations["film_subtitles"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/films/{film_id}/timeline": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What was found in a film, as far as it is analysed */
        get: operations["film_timeline"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/films/{film_id}/timeline.csv": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The timeline as a table: a row for each window and lane */
        get: operations["film_table"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Models
         * @description Model versions being served, and what share of requests each gets.
         */
        get: operations["models"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/predict": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Emotion of one sample */
        post: operations["predict"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/predict/batch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Emotion of several samples, each answered or refused by itself */
        post: operations["predict_batch"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/predict/features": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Emotion of what a device's own encoders made of a sample */
        post: operations["predict_features"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * AdaptationReply
         * @description As `fedaffect.edge.adaptation.Adaptation`.
         */
        AdaptationReply: {
            /**
             * Cues
             * @description Sentences to show or say.
             */
            cues: string[];
            /** Decision */
            decision: string;
            /**
             * Manner
             * @description How to write in that tone.
             */
            manner: string;
            /** Note */
            note: string;
            /** Pace */
            pace: string;
            /** Policy */
            policy: string;
            /** Response */
            response: string;
            /** Share */
            share: number;
            /**
             * Speed
             * @description Of speech and of what moves, as a share of the usual one.
             */
            speed: number;
            /** State */
            state: string;
            /** Theme */
            theme: string;
            /** Tone */
            tone: string;
        };
        /**
         * AttentionReply
         * @description As `fedaffect.edge.attention.Attention`.
         */
        AttentionReply: {
            /**
             * Shares
             * @description Of each layer and head, T rows that look by T columns that are looked at; a row sums to 1.
             */
            shares: number[][][][];
            /**
             * Tokens
             * @description How many tokens each modality has, in their order; T in all.
             */
            tokens: {
                [key: string]: number;
            };
        };
        /**
         * BatchBody
         * @description Several samples at once.
         */
        BatchBody: {
            /** Requests */
            requests: components["schemas"]["PredictBody"][];
        };
        /**
         * BatchReply
         * @description Answers in the order of the requests; a refusal takes an answer's place.
         */
        BatchReply: {
            /** Replies */
            replies: (components["schemas"]["PredictionReply"] | components["schemas"]["ErrorReply"])[];
        };
        /**
         * ChangeReply
         * @description Where the emotion becomes another one.
         */
        ChangeReply: {
            /** After */
            after: string;
            /** At S */
            at_s: number;
            /** Before */
            before: string;
            /** Confidence */
            confidence: number;
        };
        /**
         * Colours
         * @description Of one page, such as #1f2328.
         */
        Colours: {
            /** Accent */
            accent: string;
            /** Background */
            background: string;
            /** Text */
            text: string;
        };
        /**
         * ErrorReply
         * @description Every refusal looks so.
         */
        ErrorReply: {
            error: components["schemas"]["ErrorText"];
        };
        /**
         * ErrorText
         * @description What went wrong and what to do.
         */
        ErrorText: {
            /** Message */
            message: string;
            /** Type */
            type: string;
        };
        /**
         * FeatureBody
         * @description What an edge encoder made of one modality.
         */
        FeatureBody: {
            /**
             * Encoder Key
             * @default
             */
            encoder_key?: string;
            /** Rows */
            rows: number;
            /**
             * Values
             * @description rows x width little-endian float16, row by row, base64.
             */
            values: string;
            /** Width */
            width: number;
        };
        /**
         * FeatureSet
         * @description By modality; at least one.
         */
        FeatureSet: {
            /** @default null */
            audio?: components["schemas"]["FeatureBody"] | null;
            /** @default null */
            text?: components["schemas"]["FeatureBody"] | null;
            /** @default null */
            video?: components["schemas"]["FeatureBody"] | null;
        };
        /**
         * FeaturesBody
         * @description Features instead of media.
         */
        FeaturesBody: {
            /**
             * Adapt
             * @description Language, such as en, in which to say how an app should adapt; empty leaves it out.
             * @default
             */
            adapt?: string;
            /**
             * Attention
             * @description Tell which tokens attend to which, too; a model that does not tell refuses.
             * @default false
             */
            attention?: boolean;
            /**
             * Bundle Version
             * @description Of the bundle that made them.
             * @default
             */
            bundle_version?: string;
            /**
             * Deadline Ms
             * @default null
             */
            deadline_ms?: number | null;
            features: components["schemas"]["FeatureSet"];
            /**
             * Model Version
             * @default
             */
            model_version?: string;
            /**
             * Request Id
             * @default
             */
            request_id?: string;
        };
        /**
         * FeedbackBody
         * @description What the user said it really was.
         */
        FeedbackBody: {
            /** Consent */
            consent: boolean;
            /** @default null */
            features?: components["schemas"]["FeatureSet"] | null;
            /**
             * Idempotency Key
             * @description Or the header Idempotency-Key.
             * @default
             */
            idempotency_key?: string;
            /** Label */
            label: string;
            /**
             * Model Version
             * @default
             */
            model_version?: string;
            /** Request Id */
            request_id: string;
        };
        /**
         * FeedbackReply
         * @description Whether it was taken.
         */
        FeedbackReply: {
            /** Accepted */
            accepted: boolean;
            /** Duplicate */
            duplicate: boolean;
        };
        /**
         * FilmBody
         * @description A film that is to be sent.
         */
        FilmBody: {
            /**
             * Hop S
             * @description From one window to the next.
             * @default 0.5
             */
            hop_s?: number;
            /**
             * Size Bytes
             * @description Of the whole file.
             */
            size_bytes: number;
            /**
             * Window S
             * @description Length of a window.
             * @default 3
             */
            window_s?: number;
        };
        /**
         * FilmReply
         * @description How a film stands.
         */
        FilmReply: {
            /**
             * Analysed S
             * @description Up to where it is judged.
             */
            analysed_s: number;
            /**
             * Duration S
             * @description As far as it is known.
             */
            duration_s?: number | null;
            error?: components["schemas"]["ErrorText"] | null;
            /** Id */
            id: string;
            /**
             * Received Bytes
             * @description Confirmed: the upload goes on from here.
             */
            received_bytes: number;
            /** Size Bytes */
            size_bytes: number;
            /**
             * State
             * @enum {string}
             */
            state: "uploading" | "waiting" | "analysing" | "done" | "failed";
            /**
             * Windows
             * @description How many are judged.
             */
            windows: number;
        };
        /**
         * FilmWindowReply
         * @description One window.
         */
        FilmWindowReply: {
            /** End S */
            end_s: number;
            /**
             * Lanes
             * @description fused, face, voice, words; those that had something in them.
             */
            lanes: {
                [key: string]: components["schemas"]["JudgedReply"];
            };
            /** Note */
            note: string;
            /**
             * Request Id
             * @description Of the fused answer, for feedback; empty where there is none.
             */
            request_id: string;
            /** Start S */
            start_s: number;
        };
        /**
         * JudgedReply
         * @description What a lane says of a window.
         */
        JudgedReply: {
            /** Confidence */
            confidence: number;
            /** Label */
            label: string;
            /**
             * Probabilities
             * @description In the order of the timeline's labels.
             */
            probabilities: number[];
        };
        /**
         * ModelReply
         * @description A version being served.
         */
        ModelReply: {
            /** Label Set */
            label_set: string;
            /** Labels */
            labels: string[];
            /** Modalities */
            modalities: string[];
            /** Profile */
            profile: string;
            /** Random Init */
            random_init: boolean;
            /** Share */
            share: number;
            /** Version */
            version: string;
        };
        /**
         * ModelsReply
         * @description All of them.
         */
        ModelsReply: {
            /** Models */
            models: components["schemas"]["ModelReply"][];
        };
        /**
         * PolicyReply
         * @description What an app needs to know of the policy beforehand.
         */
        PolicyReply: {
            /** Languages */
            languages: string[];
            /**
             * Paces
             * @description Speeds as a share of the usual one.
             */
            paces: {
                [key: string]: number;
            };
            /** Themes */
            themes: {
                [key: string]: components["schemas"]["ThemeReply"];
            };
            /** Version */
            version: string;
        };
        /**
         * PredictBody
         * @description One sample; at least one of text, audio and video.
         */
        PredictBody: {
            /**
             * Adapt
             * @description Language, such as en, in which to say how an app should adapt; empty leaves it out.
             * @default
             */
            adapt?: string;
            /**
             * Attention
             * @description Tell which tokens attend to which, too; a model that does not tell refuses.
             * @default false
             */
            attention?: boolean;
            /**
             * Audio
             * @description A sound file (WAV, FLAC, OGG, MP3, MP4), base64.
             * @default null
             */
            audio?: string | null;
            /**
             * Deadline Ms
             * @description Time left when this was sent.
             * @default null
             */
            deadline_ms?: number | null;
            /**
             * Model Version
             * @description Empty: the one that is being served.
             * @default
             */
            model_version?: string;
            /**
             * Request Id
             * @description A repeated id is answered from memory.
             * @default
             */
            request_id?: string;
            /**
             * Text
             * @description The words.
             * @default null
             */
            text?: string | null;
            /**
             * Transcribe
             * @description Find the words in the sound where no text is given.
             * @default false
             */
            transcribe?: boolean;
            /**
             * Video
             * @description A picture or video file (JPEG, PNG, MP4, WebM), base64.
             * @default null
             */
            video?: string | null;
        };
        /**
         * PredictionReply
         * @description As `fedaffect.edge.prediction.Prediction`.
         */
        PredictionReply: {
            adaptation?: components["schemas"]["AdaptationReply"] | null;
            attention?: components["schemas"]["AttentionReply"] | null;
            /** Confidence */
            confidence: number;
            /** Label */
            label: string;
            /** Latency Ms */
            latency_ms: number;
            /** Modalities */
            modalities: string[];
            /** Model Version */
            model_version: string;
            /** Notes */
            notes: string[];
            /** Offload Reason */
            offload_reason: string;
            /** Probabilities */
            probabilities: {
                [key: string]: number;
            };
            /** Request Id */
            request_id: string;
            /**
             * Source
             * @constant
             */
            source: "cloud";
            /** Transcript */
            transcript?: string | null;
            /** Transcription Ms */
            transcription_ms?: number | null;
        };
        /**
         * SaidReply
         * @description A word, and when it was said.
         */
        SaidReply: {
            /** End S */
            end_s: number;
            /** Start S */
            start_s: number;
            /** Text */
            text: string;
        };
        /**
         * StateReply
         * @description Whether the server lives, or is ready.
         */
        StateReply: {
            /** Status */
            status: string;
        };
        /**
         * ThemeReply
         * @description A theme's colours on light and on dark pages.
         */
        ThemeReply: {
            dark: components["schemas"]["Colours"];
            light: components["schemas"]["Colours"];
        };
        /**
         * TimelineReply
         * @description A film's timeline as far as it was analysed.
         */
        TimelineReply: {
            /**
             * Changes
             * @description Of the fused lane.
             */
            changes: components["schemas"]["ChangeReply"][];
            film: components["schemas"]["FilmReply"];
            /**
             * First
             * @description Number of the first window here.
             */
            first: number;
            /** Hop S */
            hop_s: number;
            /** Labels */
            labels: string[];
            /**
             * Lanes
             * @description Those in which there is something.
             */
            lanes: string[];
            /** Model Version */
            model_version: string;
            /** Notes */
            notes: string[];
            /** Window S */
            window_s: number;
            /** Windows */
            windows: components["schemas"]["FilmWindowReply"][];
            /** Words */
            words: components["schemas"]["SaidReply"][];
            /**
             * Words Note
             * @description Why there are no words, or how their times were found.
             */
            words_note: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    livez: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StateReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
        };
    };
    metrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    readyz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StateReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    adaptation_policy: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PolicyReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    bundle: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                version: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The tar */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-tar": string;
                };
            };
            /** @description Part of it */
            206: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-tar": string;
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The range begins behind the end */
            416: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    bundle_file: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                version: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": string;
                };
            };
            /** @description The caller has it */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    give_feedback: {
        parameters: {
            query?: never;
            header?: {
                /** @description Time left when this was sent; the shorter of this and deadline_ms counts. */
                "X-Deadline-Ms"?: number;
                /** @description Stands for the id where the body has none. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "consent": false,
                 *       "idempotency_key": "e7d1",
                 *       "label": "joy",
                 *       "request_id": "9f1c6a52"
                 *     }
                 */
                "application/json": components["schemas"]["FeedbackBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "accepted": true,
                     *       "duplicate": false
                     *     }
                     */
                    "application/json": components["schemas"]["FeedbackReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The body did not arrive in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Beyond the limits of size, duration, resolution or length */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Neither JSON nor multipart, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The deadline passed */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    begin_film: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "size_bytes": 1048576
                 *     }
                 */
                "application/json": components["schemas"]["FilmBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FilmReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The body did not arrive in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Beyond the limits of size, duration, resolution or length */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Neither JSON nor multipart, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    film_state: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                film_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FilmReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    forget_film: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                film_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StateReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    append_to_film: {
        parameters: {
            query?: never;
            header: {
                /** @description Where in the film these bytes begin: what the server confirmed up to now. */
                "Upload-Offset": number;
            };
            path: {
                film_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/octet-stream": string;
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FilmReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The body did not arrive in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Does not fit what is there by now; ask how it stands and go on from there */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Beyond the limits of size, duration, resolution or length */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Neither JSON nor multipart, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    film_subtitles: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                film_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/vtt": string;
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    film_timeline: {
        parameters: {
            query?: {
                /** @description Leave out windows before. */
                first?: number;
            };
            header?: never;
            path: {
                film_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TimelineReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    film_table: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                film_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/csv": string;
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    models: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ModelsReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    predict: {
        parameters: {
            query?: never;
            header?: {
                /** @description Time left when this was sent; the shorter of this and deadline_ms counts. */
                "X-Deadline-Ms"?: number;
                /** @description Stands for the id where the body has none. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "text": "I could not be happier"
                 *     }
                 */
                "application/json": components["schemas"]["PredictBody"];
                "multipart/form-data": {
                    /**
                     * Adapt
                     * @description Language, such as en, in which to say how an app should adapt; empty leaves it out.
                     * @default
                     */
                    adapt?: string;
                    attention?: boolean;
                    /** Format: binary */
                    audio?: string;
                    deadline_ms?: number;
                    model_version?: string;
                    /**
                     * Request Id
                     * @description A repeated id is answered from memory.
                     * @default
                     */
                    request_id?: string;
                    text?: string;
                    transcribe?: boolean;
                    /** Format: binary */
                    video?: string;
                };
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "confidence": 0.91,
                     *       "label": "joy",
                     *       "latency_ms": 12.4,
                     *       "modalities": [
                     *         "text"
                     *       ],
                     *       "model_version": "cloud-1",
                     *       "notes": [],
                     *       "offload_reason": "unsure",
                     *       "probabilities": {
                     *         "anger": 0.02,
                     *         "joy": 0.91,
                     *         "neutral": 0.05,
                     *         "sadness": 0.02
                     *       },
                     *       "request_id": "9f1c6a52",
                     *       "source": "cloud"
                     *     }
                     */
                    "application/json": components["schemas"]["PredictionReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The body did not arrive in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Beyond the limits of size, duration, resolution or length */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Neither JSON nor multipart, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The deadline passed */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    predict_batch: {
        parameters: {
            query?: never;
            header?: {
                /** @description Time left when this was sent; the shorter of this and deadline_ms counts. */
                "X-Deadline-Ms"?: number;
                /** @description Stands for the id where the body has none. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "requests": [
                 *         {
                 *           "text": "I could not be happier"
                 *         },
                 *         {
                 *           "text": "Well."
                 *         }
                 *       ]
                 *     }
                 */
                "application/json": components["schemas"]["BatchBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "replies": [
                     *         {
                     *           "confidence": 0.91,
                     *           "label": "joy",
                     *           "latency_ms": 12.4,
                     *           "modalities": [
                     *             "text"
                     *           ],
                     *           "model_version": "cloud-1",
                     *           "notes": [],
                     *           "offload_reason": "unsure",
                     *           "probabilities": {
                     *             "anger": 0.02,
                     *             "joy": 0.91,
                     *             "neutral": 0.05,
                     *             "sadness": 0.02
                     *           },
                     *           "request_id": "9f1c6a52",
                     *           "source": "cloud"
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["BatchReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The body did not arrive in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Beyond the limits of size, duration, resolution or length */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Neither JSON nor multipart, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The deadline passed */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
    predict_features: {
        parameters: {
            query?: never;
            header?: {
                /** @description Time left when this was sent; the shorter of this and deadline_ms counts. */
                "X-Deadline-Ms"?: number;
                /** @description Stands for the id where the body has none. */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "features": {
                 *         "audio": {
                 *           "encoder_key": "3f9a",
                 *           "rows": 1,
                 *           "values": "ADwAPAA8ADw=",
                 *           "width": 4
                 *         }
                 *       }
                 *     }
                 */
                "application/json": components["schemas"]["FeaturesBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "confidence": 0.91,
                     *       "label": "joy",
                     *       "latency_ms": 12.4,
                     *       "modalities": [
                     *         "text"
                     *       ],
                     *       "model_version": "cloud-1",
                     *       "notes": [],
                     *       "offload_reason": "unsure",
                     *       "probabilities": {
                     *         "anger": 0.02,
                     *         "joy": 0.91,
                     *         "neutral": 0.05,
                     *         "sadness": 0.02
                     *       },
                     *       "request_id": "9f1c6a52",
                     *       "source": "cloud"
                     *     }
                     */
                    "application/json": components["schemas"]["PredictionReply"];
                };
            };
            /** @description Not a request that the server understands */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description No key, or one that is unknown, revoked or expired */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The key lacks the scope */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description No such model, bundle or film */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The body did not arrive in time */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Beyond the limits of size, duration, resolution or length */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Neither JSON nor multipart, or compressed */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Cannot be answered as it is; the message says what to change */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The queue is full or the key's rate is spent; come back after Retry-After */
            429: {
                headers: {
                    /** @description Seconds. */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description Draining, or no model is loaded */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
            /** @description The deadline passed */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorReply"];
                };
            };
        };
    };
}
