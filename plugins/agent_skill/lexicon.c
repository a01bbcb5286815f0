#include "lexicon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

const char *const kind_names[KINDS + 1] = {
    "data_processing", "code",       "writing",  "research",        "operations", "integration", "communication",
    "visualization",   "monitoring", "security", "model_inference", "planning",   "unknown"};

const char *const kind_capabilities[KINDS + 1] = {
    "data_processing", "custom",     "model_inference", "model_inference", "custom",      "integration", "integration",
    "visualization",   "monitoring", "security",        "model_inference", "agent_skill", NULL};

const char *const risk_names[RISKS] = {"destructive", "production", "credentials",  "personal_data", "money",
                                       "outreach",    "legal",      "availability", "privilege",     "third_party"};
const char *const risk_reasons[RISKS] = {
    "what is deleted or overwritten cannot be had back without a copy",
    "a mistake meets people who rely on the system",
    "secrets can leak into results, logs or messages",
    "data about people may be used only for what they were told",
    "money that was moved is hard to bring back",
    "what others have read cannot be taken back",
    "rules of law or contract bind how this is done",
    "the system may be away for its users meanwhile",
    "with such rights a mistake reaches everything",
    "the owner of the source may forbid or limit it",
};

const char *const vague_names[VAGUES] = {"quantity", "quality", "time", "scope", "reference", "date", "choice"};
const char *const constraint_names[CONSTRAINTS] = {"must", "must_not", "limit", "only", "format"};

/* A row: class, value, weight, and the phrases that it holds for. */
static const struct row {
    uint8_t class, value, weight;
    const char *phrases; /* with a comma between two */
} rows[] = {
    /* what is to be done */
    {LEX_VERB, KIND_DATA, 1, "count,sort,round,sum,sum up,add up,total,rank,list"},
    {LEX_VERB, KIND_DATA, 2,
     "average,aggregate,compute,calculate,filter,convert,group,sample,split,scale,multiply,divide,subtract,trim,"
     "tabulate,keep only,take,select"},
    {LEX_VERB, KIND_DATA, 3,
     "normalize,normalise,clean,clean "
     "up,deduplicate,dedupe,merge,join,transform,parse,extract,impute,reconcile,validate,"
     "load,process,combine,match,map,pivot,reformat,crunch"},
    {LEX_VERB, KIND_CODE, 2, "fix,patch,rename,lint,format,compile,bump"},
    {LEX_VERB, KIND_CODE, 3, "debug,add,change,update,extend,modify,adapt,test"},
    {LEX_VERB, KIND_CODE, 4,
     "code,program,optimize,optimise,port,write tests,write unit tests,write code,write a script,write a "
     "function,write a program,write a test"},
    {LEX_VERB, KIND_CODE, 5, "implement,build,develop,refactor,rewrite,rearchitect,design"},
    {LEX_VERB, KIND_WRITING, 1, "proofread,shorten,rephrase,reword"},
    {LEX_VERB, KIND_WRITING, 2, "summarize,summarise,edit,outline,describe,title,caption"},
    {LEX_VERB, KIND_WRITING, 3, "write,draft,translate,compose,document,rewrite the text,write up,explain"},
    {LEX_VERB, KIND_RESEARCH, 1, "look up,check"},
    {LEX_VERB, KIND_RESEARCH, 2, "find,find out,identify,list all,collect,gather,answer,read,pick"},
    {LEX_VERB, KIND_RESEARCH, 3, "compare,review,look into,analyze,analyse,examine,assess,evaluate,determine,diagnose"},
    {LEX_VERB, KIND_RESEARCH, 4, "research,investigate,explore,study,survey,benchmark"},
    {LEX_VERB, KIND_OPERATIONS, 1, "copy,move,restart,reboot,download,upload,rerun,run,archive,zip,start,stop"},
    {LEX_VERB, KIND_OPERATIONS, 2,
     "install,delete,remove,erase,wipe,purge,drop,truncate,back up,backup,restore,configure,clear,disable,enable,set "
     "up,free up"},
    {LEX_VERB, KIND_OPERATIONS, 3, "deploy,upgrade,roll back,roll out,provision,release,resize,ship"},
    {LEX_VERB, KIND_OPERATIONS, 4, "migrate,set up a cluster,move over"},
    {LEX_VERB, KIND_INTEGRATION, 2,
     "fetch,call,pull,push,import,export,forward,submit,create a ticket,open a ticket,file a ticket,create an "
     "issue,open an issue"},
    {LEX_VERB, KIND_INTEGRATION, 3, "subscribe,register,scrape,crawl,hook up,book,buy,purchase,pay,refund"},
    {LEX_VERB, KIND_INTEGRATION, 4, "sync,synchronize,synchronise,integrate,connect,mirror"},
    {LEX_VERB, KIND_COMMUNICATION, 1, "send,email,e-mail,mail,message,notify,ping,tell,remind,text,inform,let"},
    {LEX_VERB, KIND_COMMUNICATION, 2,
     "reply,respond,answer the email,announce,invite,post,tweet,publish,share,contact,reach out,present"},
    {LEX_VERB, KIND_VISUALIZATION, 2, "plot,chart,graph,draw,sketch"},
    {LEX_VERB, KIND_VISUALIZATION, 3,
     "visualize,visualise,render,illustrate,make a chart,create a chart,create a plot,make a plot,create a graph,make "
     "a graph,show a chart"},
    {LEX_VERB, KIND_VISUALIZATION, 4, "create a dashboard,build a dashboard,make a dashboard,set up a dashboard"},
    {LEX_VERB, KIND_MONITORING, 2, "watch,track,poll,log,alert,keep an eye"},
    {LEX_VERB, KIND_MONITORING, 3,
     "monitor,observe,measure,detect,profile,set up an alert,set up alerts,create an alert"},
    {LEX_VERB, KIND_SECURITY, 2, "redact,sign,verify,mask,lock down"},
    {LEX_VERB, KIND_SECURITY, 3, "scan,encrypt,decrypt,rotate,revoke,anonymize,anonymise,pseudonymize"},
    {LEX_VERB, KIND_SECURITY, 4, "audit,harden,pentest,threat-model"},
    {LEX_VERB, KIND_MODEL, 2, "classify,label,tag,categorize,categorise,score,transcribe,caption images"},
    {LEX_VERB, KIND_MODEL, 3, "predict,forecast,cluster,embed,recommend,recognize,recognise,generate"},
    {LEX_VERB, KIND_MODEL, 5, "train,fine-tune,finetune"},
    {LEX_VERB, KIND_PLANNING, 2, "schedule,prioritize,prioritise,estimate,arrange,assign"},
    {LEX_VERB, KIND_PLANNING, 3, "plan,organize,organise,decompose,coordinate,break down"},
    /* done to anything: the rest of the clause says which kind */
    {LEX_VERB, KIND_UNKNOWN, 2,
     "create,make,prepare,produce,provide,give,show,get,handle,return,save,store,use,put,do,help,improve,replace,"
     "finish,complete,report,set,figure out,deal,sort out,take care,work,need"},

    /* what speaks for a kind */
    {LEX_TOPIC, KIND_DATA, 2,
     "sales,csv,spreadsheet,dataset,data set,column,row,record,data,outlier,duplicate,median,mean,percentile,standard "
     "deviation,average,sum of,statistic,numbers,values,table,sales figures,measurement,json lines,parquet,pivot "
     "table,time series,null values,missing values,unit conversion,aggregate"},
    {LEX_TOPIC, KIND_CODE, 2,
     "function,class,unit test,bug,code,codebase,repository,repo,pull request,script,compiler,api "
     "client,library,module,stack trace,null pointer,test suite,regression,type hints,feature,endpoint,memory "
     "leak,segfault,frontend,backend,race "
     "condition,algorithm,dependency,dependencies,cli,parser,button,page,form,login,exception"},
    {LEX_TOPIC, KIND_WRITING, 2,
     "blog post,article,essay,letter,email draft,readme,documentation,press release,newsletter,paragraph,tone,copy,"
     "product description,cover letter,abstract,release notes,user guide,grammar,memo,meeting notes,speech,summary,"
     "job posting,tutorial,changelog"},
    {LEX_TOPIC, KIND_RESEARCH, 2,
     "competitors,literature,papers,market,sources,pros and cons,options,alternatives,trends,evidence,state of the art,"
     "vendors,root cause,best practices,citations,studies,hypothesis"},
    {LEX_TOPIC, KIND_OPERATIONS, 2,
     "server,cluster,deployment,disk,disk space,container,pod,staging,rollback,release,node,virtual "
     "machine,instance,cron,log files,production,database migration,downtime,maintenance window,load "
     "balancer,pipeline,package"},
    {LEX_TOPIC, KIND_INTEGRATION, 2,
     "webhook,rest api,api,crm,calendar,ticket,issue tracker,rss feed,feed,sync,two-way,oauth,inbox"},
    {LEX_TOPIC, KIND_COMMUNICATION, 2,
     "email,slack message,channel,subscriber,reminder,invitation,team,announcement,customer reply"},
    {LEX_TOPIC, KIND_VISUALIZATION, 3,
     "chart,bar chart,line chart,pie chart,histogram,scatter plot,heatmap,dashboard,graph,plot,diagram,infographic,map "
     "of"},
    {LEX_TOPIC, KIND_MONITORING, 2,
     "uptime,latency,error rate,cpu usage,memory usage,alert,metric,threshold,anomaly,anomalies,health check,response "
     "time,slo"},
    {LEX_TOPIC, KIND_SECURITY, 2,
     "vulnerability,vulnerabilities,cve,secret,leaked,permission,firewall,phishing,certificate,access "
     "log,malware,security"},
    {LEX_TOPIC, KIND_MODEL, 2,
     "sentiment,model,images,photos,embedding,classifier,training data,speech,churn,spam,topics,language model,prompt"},
    {LEX_TOPIC, KIND_PLANNING, 2,
     "roadmap,milestone,agenda,itinerary,project plan,sprint,timeline,meeting,trip,budget plan,backlog,task list,to-do "
     "list"},

    /* what can go wrong */
    {LEX_RISK, RISK_DESTRUCTIVE, 3,
     "delete,erase,wipe,purge,drop the table,drop table,drop all,truncate,rm -rf,format the disk,force push,remove "
     "all,remove every,reset to factory"},
    {LEX_RISK, RISK_DESTRUCTIVE, 2, "overwrite,replace all,clean up old,in place,prune,free up"},
    {LEX_RISK, RISK_DESTRUCTIVE, 1, "remove,move,rename"},
    {LEX_RISK, RISK_PRODUCTION, 3, "production,prod,live system,live site,live database,in prod"},
    {LEX_RISK, RISK_CREDENTIALS, 3,
     "password,credential,api key,private key,ssh key,secret,access token,client secret"},
    {LEX_RISK, RISK_PERSONAL_DATA, 3,
     "medical,patient,health record,ssn,social security,passport,biometric,payroll,salary,salaries"},
    {LEX_RISK, RISK_PERSONAL_DATA, 2,
     "personal data,pii,customer email,customer data,customer records,user data,email addresses,phone number,home "
     "address,date of birth,gdpr,resume,candidates,employee,employees,children"},
    {LEX_RISK, RISK_MONEY, 3, "payment,pay,refund,wire transfer,bank transfer,purchase,buy,credit card,transfer money"},
    {LEX_RISK, RISK_MONEY, 2, "invoice,billing,tax,charge,subscription,price"},
    {LEX_RISK, RISK_OUTREACH, 3,
     "all customers,all users,mailing list,everyone,press release,all subscribers,every customer,whole company"},
    {LEX_RISK, RISK_OUTREACH, 2,
     "tweet,post on,post it,post to,publish,announce,newsletter,social "
     "media,linkedin,customers,clients"},
    {LEX_RISK, RISK_LEGAL, 2,
     "contract,legal,lawyer,compliance,hipaa,license agreement,terms of service,nda,regulation,copyright,lease"},
    {LEX_RISK, RISK_AVAILABILITY, 2,
     "restart,reboot,shut down,downtime,migrate,upgrade,failover,maintenance window,deploy,roll out"},
    {LEX_RISK, RISK_PRIVILEGE, 3, "sudo,as root,root access,admin rights,admin access,administrator"},
    {LEX_RISK, RISK_THIRD_PARTY, 2,
     "scrape,crawl,third-party api,rate limit,paywall,competitor's website,competitors' websites"},

    /* what it leaves open */
    {LEX_VAGUE, VAGUE_QUANTITY, 0,
     "some,several,a few,many,various,a couple of,lots of,a lot of,a bunch of,most of,numerous,a number of,a handful "
     "of,large,small,big,too long,short,long enough"},
    {LEX_VAGUE, VAGUE_QUALITY, 0,
     "better,nicer,nice,good,improve,optimize,optimise,fast,faster,efficient,user-friendly,appropriate,appropriately,"
     "properly,modern,clean,simple,robust,scalable,as "
     "needed,professional,engaging,reasonable,relevant,suitable,interesting,"
     "important,high-quality,best,cool,correctly,sensible,look good,pretty,slow,weird,off"},
    {LEX_VAGUE, VAGUE_TIME, 0,
     "soon,later,recent,recently,at some point,when "
     "possible,lately,eventually,sometime,old,latest,current,often,regularly,from time to time,the other day"},
    {LEX_VAGUE, VAGUE_SCOPE, 0,
     "etc,and so on,and so forth,and more,something like,or something,everything,stuff,things,whatever,or "
     "similar,maybe,perhaps,probably,if possible,ideally,somehow,or whatever,and the like,the usual,as usual,the rest"},

    /* what binds */
    {LEX_CONSTRAINT, CONSTRAINT_MUST, 0,
     "must,must be,has to be,have to be,needs to be,need to be,make sure,ensure,be sure,required to,it is important "
     "that,always,should be,guarantee"},
    {LEX_CONSTRAINT, CONSTRAINT_MUST_NOT, 0,
     "do not,don't,don’t,never,must not,should "
     "not,shouldn't,shouldn’t,mustn't,mustn’t,without,avoid,cannot,can't,can’t,may not,no more,not allowed to,instead "
     "of,rather than,except,excluding,other than"},
    {LEX_CONSTRAINT, CONSTRAINT_LIMIT, 0,
     "at most,at least,no more than,no longer than,less than,fewer than,more than,up "
     "to,under,below,above,over,within,maximum,minimum,exactly,not exceed,max,between,budget of,budget is,limited "
     "to,or less,or fewer,cap,greater than,larger than,smaller than,bigger than"},
    {LEX_CONSTRAINT, CONSTRAINT_ONLY, 0, "only,just,nothing but,exclusively,solely"},

    /* time */
    {LEX_WHEN, WHEN_BY, 0,
     "by,before,until,till,due,deadline,no later than,not later than,due on,due by,deadline is,by the"},
    {LEX_WHEN, WHEN_DAY, 0, "today,tonight"},
    {LEX_WHEN, WHEN_DAY, 1, "tomorrow"},
    {LEX_WHEN, WHEN_WEEKDAY, 0, "monday"},
    {LEX_WHEN, WHEN_WEEKDAY, 1, "tuesday"},
    {LEX_WHEN, WHEN_WEEKDAY, 2, "wednesday"},
    {LEX_WHEN, WHEN_WEEKDAY, 3, "thursday"},
    {LEX_WHEN, WHEN_WEEKDAY, 4, "friday"},
    {LEX_WHEN, WHEN_WEEKDAY, 5, "saturday"},
    {LEX_WHEN, WHEN_WEEKDAY, 6, "sunday"},
    {LEX_WHEN, WHEN_MONTH, 1, "january,jan"},
    {LEX_WHEN, WHEN_MONTH, 2, "february,feb"},
    {LEX_WHEN, WHEN_MONTH, 3, "march,mar"},
    {LEX_WHEN, WHEN_MONTH, 4, "april,apr"},
    {LEX_WHEN, WHEN_MONTH, 5, "may"},
    {LEX_WHEN, WHEN_MONTH, 6, "june,jun"},
    {LEX_WHEN, WHEN_MONTH, 7, "july,jul"},
    {LEX_WHEN, WHEN_MONTH, 8, "august,aug"},
    {LEX_WHEN, WHEN_MONTH, 9, "september,sep,sept"},
    {LEX_WHEN, WHEN_MONTH, 10, "october,oct"},
    {LEX_WHEN, WHEN_MONTH, 11, "november,nov"},
    {LEX_WHEN, WHEN_MONTH, 12, "december,dec"},
    {LEX_WHEN, WHEN_END_OF, 0, "end of day,end of the day,eod,close of business,cob,end of today"},
    {LEX_WHEN, WHEN_END_OF, 1, "end of week,end of the week,end of this week,eow,this week,this weekend,next week"},
    {LEX_WHEN, WHEN_END_OF, 2, "end of month,end of the month,end of this month,month end,month's end"},
    {LEX_WHEN, WHEN_END_OF, 3, "end of quarter,end of the quarter,quarter end,next quarter"},
    {LEX_WHEN, WHEN_END_OF, 4, "end of year,end of the year,year end"},
    {LEX_WHEN, WHEN_END_OF, 5, "noon,midnight,lunch,next month,next year"},
    {LEX_WHEN, WHEN_URGENT, 0,
     "asap,as soon as possible,urgent,urgently,immediately,right away,right now,at once,straight away"},
    {LEX_WHEN, WHEN_RECURRING, 0,
     "daily,weekly,monthly,hourly,quarterly,yearly,nightly,every day,every week,every month,every hour,every "
     "morning,every night,every evening,every minute,each day,each week,each month,each morning,each night,each "
     "quarter,every quarter,every monday,every tuesday,every wednesday,every thursday,every friday,every "
     "saturday,every sunday,every weekday,each monday,each friday,every other day,once a day,once a week,once a "
     "month,twice a day,twice a week"},

    /* names of things */
    {LEX_TECHNOLOGY, 0, 0,
     "python,javascript,typescript,java,rust,golang,c++,ruby,php,kotlin,swift,bash,sql,postgres,postgresql,mysql,"
     "sqlite,mongodb,redis,kafka,rabbitmq,elasticsearch,docker,kubernetes,terraform,ansible,jenkins,github,gitlab,git,"
     "jira,confluence,slack,discord,teams,salesforce,hubspot,zendesk,notion,airtable,google sheets,google drive,google "
     "calendar,gmail,outlook,excel,powerpoint,word "
     "document,aws,s3,ec2,lambda,azure,gcp,bigquery,snowflake,spark,pandas,numpy,pytorch,tensorflow,grafana,prometheus,"
     "datadog,sentry,linux,windows,macos,nginx,apache,react,vue,angular,django,flask,fastapi,node.js,stripe,paypal,"
     "quickbooks,shopify,wordpress,twitter,linkedin,facebook,instagram,youtube,trello,asana,zapier,twilio,graphql,"
     "openapi,jupyter,dbt,airflow,latex,hacker news,reddit,wikipedia,arxiv,pubmed"},
    {LEX_FORMAT, 0, 0,
     "json,csv,pdf,markdown,html,xml,yaml,xlsx,plain text,png,svg,docx,a table,bullet points,bullet list,slides,a "
     "list,one page,a spreadsheet,one paragraph"},
    {LEX_UNIT, 0, 0,
     "row,record,file,page,word,item,user,customer,line,image,photo,email,ticket,person,people,server,node,product,"
     "order,request,sentence,paragraph,slide,character,document,column,repository,paper,article,sample,test,endpoint,"
     "euro,dollar,degree,kb,mb,gb,tb,kib,mib,gib,ms,percent,option,bullet,table,service,contact,subscriber,question,"
     "vendor,source,account"},
    {LEX_UNIT, 1, 1, "second,minute,hour,day,week,month,year,business day,working day,weekday,sprint,quarter"},
    {LEX_THING, THING_SOURCE, 0,
     "the file,the files,the data,the document,the documents,the report,the spreadsheet,the list,the dataset,the "
     "article,the table,the database,the server,the website,the attached,the attachment,the csv,the log,the logs,the "
     "image,the images,the email,this file,this data,this document,this article,this text,this list,the code,the "
     "script,the api,the page,the bug,the issue,the function,these numbers,the numbers,the contract,the transcript,the "
     "paper,the service,the project"},
    {LEX_THING, THING_RECIPIENT, 0, "them,him,her,somebody,someone,the person,the right people,whoever"},
    {LEX_ENGLISH, 0, 0,
     "the,a,an,and,or,of,to,in,for,with,on,from,by,that,this,is,are,be,it,as,at,all,each,our,my,your,we,i,you,us,me,"
     "not,please,if,into,then,their,them,which,who,what,how,when,where,was,were,has,have,can,should,will,would,do,does,"
     "any,but,so"},
};

#define ENTRIES_MAX 1600
#define PHRASES_ROOM 16384
static struct lex entries[ENTRIES_MAX];
static const struct lex *sorted[ENTRIES_MAX];
static char phrases[PHRASES_ROOM];
static unsigned count;

static int by_phrase(const void *a, const void *b)
{
    const struct lex *x = *(const struct lex *const *)a, *y = *(const struct lex *const *)b;
    int order = strcmp(x->phrase, y->phrase);
    return order ? order : (x > y) - (x < y);
}

void lexicon_sort(void)
{
    size_t used = 0;
    count = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (const char *at = rows[i].phrases; *at;) {
            size_t n = strcspn(at, ",");
            if (count == ENTRIES_MAX || used + n + 1 > sizeof phrases)
                return; /* lexicon_sorted tells, and so does a test */
            memcpy(phrases + used, at, n);
            phrases[used + n] = 0;
            entries[count] = (struct lex){phrases + used, rows[i].class, rows[i].value, rows[i].weight};
            sorted[count] = &entries[count];
            count++;
            used += n + 1;
            at += n + (at[n] == ',');
        }
    qsort(sorted, count, sizeof *sorted, by_phrase);
}

bool lexicon_sorted(void)
{
    for (unsigned i = 1; i < count; i++)
        if (strcmp(sorted[i - 1]->phrase, sorted[i]->phrase) > 0)
            return false;
    return count > 0 && count < ENTRIES_MAX;
}

/* The first entry of this phrase, and how many there are. */
static unsigned find(const char *phrase, const struct lex *const **first)
{
    unsigned low = 0, high = count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (strcmp(sorted[middle]->phrase, phrase) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    unsigned n = 0;
    while (low + n < count && strcmp(sorted[low + n]->phrase, phrase) == 0)
        n++;
    *first = &sorted[low];
    return n;
}

/* ---- inflection ---- */

static const struct {
    const char *ending, *instead;
} endings[] = {{"ies", "y"}, {"sses", "ss"}, {"xes", "x"}, {"ches", "ch"}, {"shes", "sh"}, {"s", ""},
               {"ied", "y"}, {"ed", ""},     {"ed", "e"},  {"ing", ""},    {"ing", "e"},   {"ying", "ie"}};

/* Writes both, one behind the other; false, and nothing of use, when they do not fit. */
static bool join(char *out, size_t size, const char *first, const char *second)
{
    int n = snprintf(out, size, "%s%s", first, second);
    return n >= 0 && (size_t)n < size;
}

static bool undo(const char *word, size_t which, char out[WORD_ROOM])
{
    size_t n = strlen(word), e = strlen(endings[which].ending);
    if (n < e + 3 || strcmp(word + n - e, endings[which].ending) != 0 || (e == 1 && word[n - 2] == 's'))
        return false;
    memcpy(out, word, n - e);
    return join(out + n - e, WORD_ROOM - (n - e), endings[which].instead, "");
}

/* planned -> plan */
static bool undouble(char word[WORD_ROOM])
{
    size_t n = strlen(word);
    if (n < 4 || word[n - 1] != word[n - 2])
        return false;
    word[n - 1] = 0;
    return true;
}

/* The word with its ending undone so that the phrase that begins with it is known. */
static unsigned find_inflected(const char *word, const char *rest, const struct lex *const **first)
{
    char stem[WORD_ROOM], phrase[LEX_WORDS * WORD_ROOM];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (!undo(word, i, stem))
            continue;
        do {
            unsigned n = join(phrase, sizeof phrase, stem, rest) ? find(phrase, first) : 0;
            if (n)
                return n;
        } while (!endings[i].instead[0] && undouble(stem));
    }
    return 0;
}

void lexicon_stem(const char *word, char out[48])
{
    join(out, WORD_ROOM, word, "");
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (undo(word, i, out)) {
            undouble(out);
            break;
        }
    size_t n = strlen(out);
    if (n > 3 && out[n - 1] == 'e')
        out[n - 1] = 0;
}

/* ---- phrases ---- */

/* What each token begins: for each length of a phrase, as it stands [0] and inflected [1], where its entries are. */
static struct match {
    uint16_t first; /* in sorted */
    uint16_t count;
} matches[TEXT_MAX + 1][LEX_WORDS][2];

static bool joins(uint32_t i)
{
    return i < text.n && (text.tokens[i].kind == TOKEN_WORD || text.tokens[i].kind == TOKEN_FILE);
}

static void look_up(const char words[][WORD_ROOM], uint32_t n, struct match out[2])
{
    char phrase[LEX_WORDS * WORD_ROOM], rest[LEX_WORDS * WORD_ROOM] = "";
    const struct lex *const *first;
    for (uint32_t k = 1; k < n; k++) {
        size_t at = strlen(rest);
        join(rest + at, sizeof rest - at, " ", words[k]);
    }
    join(phrase, sizeof phrase, words[0], rest);
    unsigned found = find(phrase, &first);
    size_t len = strlen(phrase);
    if (!found && n > 1 && phrase[len - 1] == 's') { /* bar charts */
        phrase[len - 1] = 0;
        found = find(phrase, &first);
    }
    if (found)
        out[0] = (struct match){(uint16_t)(first - sorted), (uint16_t)found};
    if ((found = find_inflected(words[0], rest, &first)))
        out[1] = (struct match){(uint16_t)(first - sorted), (uint16_t)found};
}

void lexicon_read(void)
{
    for (uint32_t i = 0; i < text.n; i++) {
        char words[LEX_WORDS][WORD_ROOM];
        uint32_t n = 0;
        while (n < LEX_WORDS && joins(i + n) && text_word(i + n, words[n])[0])
            n++;
        memset(matches[i], 0, sizeof matches[i]);
        for (; n > 0; n--)
            look_up((const char(*)[WORD_ROOM])words, n, matches[i][n - 1]);
    }
}

static const struct lex *of_class(struct match m, enum lex_class class)
{
    for (unsigned k = 0; k < m.count; k++)
        if (sorted[m.first + k]->class == class)
            return sorted[m.first + k];
    return NULL;
}

static const struct lex *longest(uint32_t i, enum lex_class class, bool base, uint32_t *tokens)
{
    for (uint32_t n = i < text.n ? LEX_WORDS : 0; n > 0; n--) {
        const struct lex *l = of_class(matches[i][n - 1][0], class);
        if (!l && !base)
            l = of_class(matches[i][n - 1][1], class);
        if (l) {
            *tokens = n;
            return l;
        }
    }
    return NULL;
}

const struct lex *lexicon_find(uint32_t i, enum lex_class class, uint32_t *tokens)
{
    return longest(i, class, false, tokens);
}

const struct lex *lexicon_base(uint32_t i, enum lex_class class, uint32_t *tokens)
{
    return longest(i, class, true, tokens);
}
