// Made by `npm run api` of the description with SHA-256 5499ab9b55dbb48c31bd65673c05a3c2f18e46ea2c5c39b20f42dc004cc28f8d
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
    "/v1/console/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Audit Log
         * @description Entries whose action and subject begin so, newest first.
         */
        get: operations["audit_log"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/audit/check": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Check Audit Log
         * @description Recompute the chain of the audit log, and hold it against a head that was kept elsewhere.
         */
        get: operations["check_audit_log"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/devices/approve": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Approve Devices
         * @description Let devices take part that wait for it; the fleet's service tells Flower within some seconds.
         */
        post: operations["approve_devices"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/devices/refuse": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Refuse Device
         * @description Keep a device out from now on, whether it waits or takes part.
         */
        post: operations["refuse_device"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/fleet": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Fleet
         * @description Devices, runs, rollouts and bundles as they stand.
         */
        get: operations["fleet"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/fleet/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Fleet Events
         * @description What happens; `Last-Event-ID` goes on behind an entry.
         *
         *     `entry` is an entry of the audit log and the round that it is about, `progress` a round that goes on;
         *     `refresh` says that a watcher must ask for all anew.
         */
        get: operations["fleet_events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/fleet/runs/{run_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Fleet Run
         * @description A run with all its rounds.
         */
        get: operations["fleet_run"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/fleet/runs/{run_id}/rounds/{number}/{attempt}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Fleet Round
         * @description Who took part in an attempt at a round, by name, group and labels, and how.
         */
        get: operations["fleet_round"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Log In
         * @description Log in; the reply sets the cookie.
         */
        post: operations["log_in"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/logins": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Own Logins
         * @description Where the account that asks is logged in.
         */
        get: operations["own_logins"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/logins/{login_id}/end": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * End Login
         * @description End one of one's own logins, as that of a machine one left.
         */
        post: operations["end_login"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Log Out
         * @description End this login; again, and nothing changes.
         */
        post: operations["log_out"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Me
         * @description Who asks, and what they may see; answered without an account too.
         */
        get: operations["me"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/research": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Recorded Runs
         * @description All run folders.
         */
        get: operations["recorded_runs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/research/compare": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Compare Runs
         * @description Each further run or sweep's setting against the first, as `fedaffect runs compare` says it.
         */
        post: operations["compare_runs"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/research/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Research Events
         * @description What happens from now on; a watcher asks for all anew after `open`, as nothing is repeated.
         *
         *     `rounds` are those that a run wrote, `runs` says that there are others than before.
         */
        get: operations["research_events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/research/run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Recorded Run
         * @description One run folder; its name is a parameter, as those of sweeps have a slash.
         */
        get: operations["recorded_run"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/rollouts/back": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Roll Back
         * @description Take the staged bundle back, or the one that all got last.
         */
        post: operations["roll_back"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/console/rollouts/promote": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Promote Bundle
         * @description Give a bundle to a share of the devices; what they find can take it back.
         */
        post: operations["promote_bundle"];
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
    "/v1/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What was kept */
        get: operations["kept_sessions"];
        put?: never;
        /** Keep a session */
        post: operations["keep_session"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/sessions/{session_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One with its timeline */
        get: operations["kept_session"];
        put?: never;
        post?: never;
        /** Delete a session for good */
        delete: operations["delete_session"];
        options?: never;
        head?: never;
        /** Change a session's name or notes */
        patch: operations["describe_session"];
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * AccountReply
         * @description Who is logged in.
         */
        AccountReply: {
            /**
             * Expires
             * Format: date-time
             */
            expires: string;
            /** Name */
            name: string;
            /**
             * Role
             * @enum {string}
             */
            role: "viewer" | "operator";
        };
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
         * AuditReply
         * @description Entries of the audit log, newest first.
         */
        AuditReply: {
            /** Entries */
            entries: components["schemas"]["EntryReply"][];
            /** Head */
            head: string;
            /**
             * Logs
             * @description Which logs there are: the fleet's, and the server's own where it is another.
             */
            logs: string[];
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
         * BundleReply
         * @description A bundle, with what it was made of.
         */
        BundleReply: {
            /**
             * Before
             * @description The bundle that its run began with; empty where it is not known.
             */
            before: string;
            /**
             * Created
             * Format: date-time
             */
            created: string;
            /** Data Statement */
            data_statement: string;
            /** Epsilon */
            epsilon: number | null;
            /**
             * Guard
             * @description UAR of people nobody learned from, before and after.
             */
            guard: {
                [key: string]: number[];
            };
            /** Megabytes */
            megabytes: number;
            /** Offered */
            offered: string | null;
            /** Round */
            round: number | null;
            /** Run */
            run: string;
            /** Version */
            version: string;
        };
        /**
         * ChainReply
         * @description Whether the log is what was written.
         */
        ChainReply: {
            /** Archived */
            archived: number;
            /**
             * Checked
             * Format: date-time
             */
            checked: string;
            /** Entries */
            entries: number;
            /** Head */
            head: string;
            /** Problem */
            problem: string;
            /** Unchanged */
            unchanged: boolean;
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
         * ComparisonBody
         * @description Runs or sweeps by name; further ones are held against the first.
         */
        ComparisonBody: {
            /** Runs */
            runs: string[];
        };
        /**
         * ComparisonReply
         * @description One run against the first, as ``fedaffect runs compare`` says it.
         */
        ComparisonReply: {
            /** Headings */
            headings: string[];
            /** Rows */
            rows: string[][];
            /** Title */
            title: string;
            /** Verdict */
            verdict: string;
        };
        /**
         * ComparisonsReply
         * @description Every further run against the first.
         */
        ComparisonsReply: {
            /** Comparisons */
            comparisons: components["schemas"]["ComparisonReply"][];
        };
        /**
         * DeviceReply
         * @description A device, by what the operator calls it; never what it holds.
         */
        DeviceReply: {
            /** Consent */
            consent: boolean;
            /** Cores */
            cores: number;
            /**
             * Enrolled
             * Format: date-time
             */
            enrolled: string;
            /**
             * Epsilon
             * @description Spent over its lifetime, as it said.
             */
            epsilon: number | null;
            /** Group */
            group: string;
            /** Id */
            id: string;
            /** Labels */
            labels: string[];
            /** Last Seen */
            last_seen: string | null;
            /** Memory Mb */
            memory_mb: number;
            /** Modalities */
            modalities: string[];
            /** Name */
            name: string;
            /**
             * Online
             * @description None where the fleet's service does not say.
             */
            online: boolean | null;
            /**
             * Status
             * @enum {string}
             */
            status: "waiting" | "enrolled" | "revoked";
        };
        /**
         * DevicesBody
         * @description Devices by id or name.
         */
        DevicesBody: {
            /** Devices */
            devices: string[];
        };
        /**
         * DoneReply
         * @description What came of it.
         */
        DoneReply: {
            /** Done */
            done: string;
        };
        /**
         * EntryReply
         * @description One entry of the audit log.
         */
        EntryReply: {
            /** Action */
            action: string;
            /** Actor */
            actor: string;
            /**
             * At
             * Format: date-time
             */
            at: string;
            /** Details */
            details: {
                [key: string]: unknown;
            };
            /** Hash */
            hash: string;
            /** Id */
            id: number;
            /** Subject */
            subject: string;
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
            /**
             * Features
             * @description Modalities whose features were kept with it, to learn from.
             */
            features: string[];
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
             * @description fused, face, voice, words, person-1 …; those that had something in them.
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
         * FleetReply
         * @description The fleet as it stands.
         */
        FleetReply: {
            /** Bundles */
            bundles: components["schemas"]["BundleReply"][];
            /** Devices */
            devices: components["schemas"]["DeviceReply"][];
            /** Problems */
            problems: {
                [key: string]: string;
            };
            /** Registry */
            registry: string;
            /** Rollouts */
            rollouts: components["schemas"]["RolloutReply"][];
            /** Runs */
            runs: components["schemas"]["RunReply"][];
            /**
             * Service
             * @enum {string}
             */
            service: "answers" | "does not answer" | "not asked";
        };
        /**
         * FleetRunReply
         * @description A run with its rounds.
         */
        FleetRunReply: {
            /**
             * Bundle
             * @description That was made of it; empty where none was.
             */
            bundle: string;
            /** Finished */
            finished: string | null;
            /** Guard */
            guard: {
                [key: string]: number[];
            };
            /**
             * Guard Allows
             * @description Points of UAR that it may lose on each.
             */
            guard_allows: number | null;
            plan: components["schemas"]["PlanReply"];
            /** Rounds */
            rounds: components["schemas"]["RoundReply"][];
            run: components["schemas"]["RunReply"];
            /**
             * Started
             * Format: date-time
             */
            started: string;
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
         * KeptChange
         * @description Where the emotion becomes another one.
         */
        KeptChange: {
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
         * KeptJudged
         * @description What a lane says of a window.
         */
        KeptJudged: {
            /** Confidence */
            confidence: number;
            /** Label */
            label: string;
            /** Probabilities */
            probabilities: number[];
        };
        /**
         * KeptSessionReply
         * @description A kept session.
         */
        KeptSessionReply: {
            session: components["schemas"]["SessionReply"];
            timeline: components["schemas"]["KeptTimeline"];
        };
        /**
         * KeptTimeline
         * @description A timeline, of a film or of what was seen live.
         */
        KeptTimeline: {
            /** Changes */
            changes?: components["schemas"]["KeptChange"][];
            /** Labels */
            labels: string[];
            /** Lanes */
            lanes: string[];
            /**
             * Model Version
             * @default
             */
            model_version?: string;
            /** Windows */
            windows: components["schemas"]["KeptWindow"][];
            /** Words */
            words?: components["schemas"]["KeptWord"][];
        };
        /**
         * KeptWindow
         * @description One window.
         */
        KeptWindow: {
            /** End S */
            end_s: number;
            /** Lanes */
            lanes: {
                [key: string]: components["schemas"]["KeptJudged"];
            };
            /**
             * Source
             * @default cloud
             * @enum {string}
             */
            source?: "cloud" | "edge";
            /** Start S */
            start_s: number;
        };
        /**
         * KeptWord
         * @description A word, and when it was said.
         */
        KeptWord: {
            /** End S */
            end_s: number;
            /** Start S */
            start_s: number;
            /** Text */
            text: string;
        };
        /**
         * LoginBody
         * @description Name and password of an account.
         */
        LoginBody: {
            /** Name */
            name: string;
            /** Password */
            password: string;
        };
        /**
         * LoginReply
         * @description A login that counts now.
         */
        LoginReply: {
            /** Address */
            address: string;
            /**
             * Created
             * Format: date-time
             */
            created: string;
            /**
             * Expires
             * Format: date-time
             */
            expires: string;
            /** Id */
            id: string;
            /**
             * Seen
             * Format: date-time
             */
            seen: string;
            /** This */
            this: boolean;
        };
        /**
         * LoginsReply
         * @description Where an account is logged in.
         */
        LoginsReply: {
            /** Logins */
            logins: components["schemas"]["LoginReply"][];
        };
        /**
         * MeReply
         * @description Who asks, and what they may see.
         */
        MeReply: {
            /**
             * Accounts
             * @description Whether anybody has an account.
             */
            accounts: boolean;
            /**
             * Expired
             * @description Somebody was logged in here and is no more.
             */
            expired: boolean;
            /**
             * First Account
             * @description The command that makes one.
             */
            first_account: string;
            /** May Act */
            may_act: boolean;
            /** May Look */
            may_look: boolean;
            user: components["schemas"]["AccountReply"] | null;
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
         * ParticipantReply
         * @description One device in one attempt: what it did, never what it learned from.
         */
        ParticipantReply: {
            /** Bytes Down */
            bytes_down: number;
            /** Bytes Up */
            bytes_up: number;
            /** Device */
            device: string;
            /** Group */
            group: string;
            /** Labels */
            labels: string[];
            /** Name */
            name: string;
            /** Reason */
            reason: string;
            /** Seconds */
            seconds: number | null;
            /**
             * State
             * @enum {string}
             */
            state: "asked" | "answered" | "refused" | "failed";
            /** Straggler */
            straggler: boolean;
        };
        /**
         * ParticipantsReply
         * @description Who took part.
         */
        ParticipantsReply: {
            /** Participants */
            participants: components["schemas"]["ParticipantReply"][];
        };
        /**
         * PlanReply
         * @description What was asked for.
         */
        PlanReply: {
            /**
             * Epsilon
             * @description That a device may spend in the run.
             */
            epsilon: number | null;
            /** Group */
            group: string;
            /** Learns */
            learns: string;
            /** Privacy */
            privacy: string;
            /** Secure Sums */
            secure_sums: boolean;
            /** Strategy */
            strategy: string;
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
         * PromotionBody
         * @description A bundle for a share of the devices; a larger share includes a smaller one.
         */
        PromotionBody: {
            /**
             * Min Examples
             * @default 20
             */
            min_examples?: number;
            /**
             * Percent
             * @default 100
             */
            percent?: number;
            /**
             * Tolerance
             * @default 0.02
             */
            tolerance?: number;
            /** Version */
            version: string;
        };
        /**
         * RecordedRoundReply
         * @description A round as ``metrics.jsonl`` has it.
         */
        RecordedRoundReply: {
            /** Bytes Down */
            bytes_down: number;
            /** Bytes Up */
            bytes_up: number;
            /** Clients */
            clients: number;
            /** Dev */
            dev: {
                [key: string]: number;
            } | null;
            /** Epsilon */
            epsilon: number | null;
            /** Failures */
            failures: number;
            /** Refusals */
            refusals: number;
            /** Round */
            round: number;
            /** Seconds */
            seconds: number;
            /** Train Loss */
            train_loss: number | null;
        };
        /**
         * RecordedRunDetailReply
         * @description One run folder: settings, rounds, figures of each label.
         */
        RecordedRunDetailReply: {
            /** Guard */
            guard: {
                [key: string]: number[];
            };
            /** Per Class */
            per_class: {
                [key: string]: {
                    [key: string]: number;
                };
            };
            /** Rounds */
            rounds: components["schemas"]["RecordedRoundReply"][];
            run: components["schemas"]["RecordedRunReply"];
            /** Settings */
            settings: {
                [key: string]: unknown;
            };
            /** Test Std */
            test_std: {
                [key: string]: number;
            };
        };
        /**
         * RecordedRunReply
         * @description A run folder of a simulation.
         */
        RecordedRunReply: {
            /** Best Round */
            best_round: number | null;
            /** Clients */
            clients: number | null;
            /** Damaged */
            damaged: string;
            /** Dataset */
            dataset: string;
            /** Differences */
            differences: string[];
            /** Finished */
            finished: boolean;
            /** How */
            how: string;
            /** Labels */
            labels: string;
            /** Modalities */
            modalities: string[];
            /** Name */
            name: string;
            /** Planned */
            planned: number;
            /** Rounds */
            rounds: number;
            /** Seed */
            seed: number | null;
            /** Test */
            test: {
                [key: string]: number;
            } | null;
        };
        /**
         * RecordedRunsReply
         * @description All run folders, and the sweeps that some of them are of.
         */
        RecordedRunsReply: {
            /** Folder */
            folder: string;
            /** Problem */
            problem: string;
            /** Runs */
            runs: components["schemas"]["RecordedRunReply"][];
            /** Sweeps */
            sweeps: string[];
        };
        /**
         * RefusalBody
         * @description A device that is to stay out.
         */
        RefusalBody: {
            /** Device */
            device: string;
            /**
             * Reason
             * @default
             */
            reason?: string;
        };
        /**
         * RollBackBody
         * @description Why the bundle is taken back.
         */
        RollBackBody: {
            /**
             * Reason
             * @default
             */
            reason?: string;
        };
        /**
         * RolloutReply
         * @description A bundle on its way to devices.
         */
        RolloutReply: {
            /** Better */
            better: number;
            /** Change */
            change: number | null;
            /** Noise */
            noise: number;
            /** Percent */
            percent: number;
            /** Reason */
            reason: string;
            /** Reports */
            reports: number;
            /**
             * State
             * @enum {string}
             */
            state: "staged" | "complete" | "rolled-back";
            /** Version */
            version: string;
            /** Worse */
            worse: number;
        };
        /**
         * RoundReply
         * @description One attempt at a round.
         */
        RoundReply: {
            /** Attempt */
            attempt: number;
            /** Bytes Down */
            bytes_down: number;
            /** Bytes Up */
            bytes_up: number;
            /** Dev */
            dev: {
                [key: string]: number;
            } | null;
            /**
             * Devices
             * @description By what they did: asked, answered, refused, failed.
             */
            devices: {
                [key: string]: number;
            };
            /**
             * Epsilon
             * @description The most that any device had spent after it, over its lifetime.
             */
            epsilon: number | null;
            /** Finished */
            finished: string | null;
            /**
             * Late
             * @description Devices that were asked and did not answer before it was over.
             */
            late: number;
            /** Reason */
            reason: string;
            /** Reasons */
            reasons: {
                [key: string]: number;
            };
            /** Round */
            round: number;
            /** Seconds */
            seconds: number | null;
            /**
             * Started
             * Format: date-time
             */
            started: string;
            /**
             * State
             * @enum {string}
             */
            state: "open" | "committed" | "abandoned";
            /** Train Loss */
            train_loss: number | null;
        };
        /**
         * RunReply
         * @description A run of the fleet.
         */
        RunReply: {
            /** Attempts */
            attempts: number;
            /** Committed */
            committed: number;
            /** Id */
            id: string;
            /**
             * Newest
             * @description Devices of the newest round, by what they did.
             */
            newest: {
                [key: string]: number;
            };
            /** Reason */
            reason: string;
            /**
             * Reasons
             * @description Why devices of the newest round refused or failed.
             */
            reasons: {
                [key: string]: number;
            };
            /**
             * Rounds
             * @description That were asked for.
             */
            rounds: number;
            /** Seconds */
            seconds: number | null;
            /**
             * State
             * @enum {string}
             */
            state: "open" | "finished" | "failed" | "cancelled";
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
         * SessionBody
         * @description A session to be kept.
         */
        SessionBody: {
            /**
             * Kind
             * @enum {string}
             */
            kind: "film" | "live";
            /** Name */
            name: string;
            /**
             * Notes
             * @default
             */
            notes?: string;
            timeline: components["schemas"]["KeptTimeline"];
        };
        /**
         * SessionChange
         * @description What is to be changed.
         */
        SessionChange: {
            /**
             * Name
             * @default null
             */
            name?: string | null;
            /**
             * Notes
             * @default null
             */
            notes?: string | null;
        };
        /**
         * SessionReply
         * @description A kept session without its timeline.
         */
        SessionReply: {
            /**
             * Created
             * @description ISO 8601, UTC.
             */
            created: string;
            /** Id */
            id: string;
            /**
             * Kind
             * @enum {string}
             */
            kind: "film" | "live";
            /** Name */
            name: string;
            /** Notes */
            notes: string;
            summary: components["schemas"]["SessionSummary"];
            /**
             * Until
             * @description When it will be deleted.
             */
            until: string;
        };
        /**
         * SessionSummary
         * @description What a list shows.
         */
        SessionSummary: {
            /**
             * Answered By
             * @description Shares of cloud and edge.
             */
            answered_by: {
                [key: string]: number;
            };
            /** Changes */
            changes: number;
            /**
             * Confidence
             * @description The mean.
             */
            confidence: number;
            /** Duration S */
            duration_s: number;
            /** Model Version */
            model_version: string;
            /**
             * Shares
             * @description Of windows, by emotion; unsure ones are not sure.
             */
            shares: {
                [key: string]: number;
            };
            /** Windows */
            windows: number;
        };
        /**
         * SessionsReply
         * @description All that were kept with this key.
         */
        SessionsReply: {
            /**
             * Keep Days
             * @description How long a session is kept; 0 where none is.
             */
            keep_days: number;
            /** Sessions */
            sessions: components["schemas"]["SessionReply"][];
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
    audit_log: {
        parameters: {
            query?: {
                log?: string;
                action?: string;
                subject?: string;
                before?: number | null;
                limit?: number;
            };
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
                    "application/json": components["schemas"]["AuditReply"];
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
    check_audit_log: {
        parameters: {
            query?: {
                log?: string;
                expected?: string;
            };
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
                    "application/json": components["schemas"]["ChainReply"];
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
    approve_devices: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DevicesBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DoneReply"];
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
    refuse_device: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RefusalBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DoneReply"];
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
    fleet: {
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
                    "application/json": components["schemas"]["FleetReply"];
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
    fleet_events: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
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
    fleet_run: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
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
                    "application/json": components["schemas"]["FleetRunReply"];
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
    fleet_round: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                run_id: string;
                number: number;
                attempt: number;
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
                    "application/json": components["schemas"]["ParticipantsReply"];
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
    log_in: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LoginBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccountReply"];
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
    own_logins: {
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
                    "application/json": components["schemas"]["LoginsReply"];
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
    end_login: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                login_id: string;
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
                    "application/json": components["schemas"]["DoneReply"];
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
    log_out: {
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
                    "application/json": components["schemas"]["DoneReply"];
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
    me: {
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
                    "application/json": components["schemas"]["MeReply"];
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
    recorded_runs: {
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
                    "application/json": components["schemas"]["RecordedRunsReply"];
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
    compare_runs: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ComparisonBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ComparisonsReply"];
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
    research_events: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
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
    recorded_run: {
        parameters: {
            query: {
                name: string;
            };
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
                    "application/json": components["schemas"]["RecordedRunDetailReply"];
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
    roll_back: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RollBackBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DoneReply"];
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
    promote_bundle: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PromotionBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DoneReply"];
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
                     *       "duplicate": false,
                     *       "features": []
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
    kept_sessions: {
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
                    "application/json": components["schemas"]["SessionsReply"];
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
    keep_session: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SessionBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionReply"];
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
    kept_session: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
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
                    "application/json": components["schemas"]["KeptSessionReply"];
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
    delete_session: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
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
    describe_session: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SessionChange"];
            };
        };
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
}
